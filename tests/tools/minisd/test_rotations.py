from __future__ import annotations

import numpy as np

from tools.minisd.recipe import (
    Composition,
)
from tools.minisd.rotations import rotation_samples


def test_rotation_samples_end_where_the_pivot_and_the_angle_lead(sprites):
    settings = Composition(side=128, scale=(0.5, 0.7), whole=True)
    samples, again = (rotation_samples(sprites, settings, 6, seed=(5,), split="in_domain") for _ in range(2))
    assert [sample.digest for sample in samples] == [sample.digest for sample in again]
    for sample in samples:
        assert sample.is_pivot.tolist() == [False, False, True]
        radians = np.deg2rad(sample.meta.angle)
        turn = np.array([[np.cos(radians), np.sin(radians)], [-np.sin(radians), np.cos(radians)]])
        led = (sample.sources.xy - sample.meta.pivot) @ turn + sample.meta.pivot
        assert np.abs(led - sample.targets.xy).max() < 1.5
        assert 20 <= abs(sample.meta.angle) <= 60
        changed = np.abs(sample.image.astype(int) - sample.target.astype(int)).max(axis=2) > 4
        assert changed.any() and sample.mask[changed].all()
        for x, y in sample.sources.xy[:2].astype(int):
            assert sample.meta.object_mask[y, x]
