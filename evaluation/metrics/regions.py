"""The region of a picture that a rotation touches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rotationbench.rotation import turn_mask
from rotationbench.sample import DragSample


def touched_region(sample: DragSample) -> np.ndarray | None:
    """Bool `(H, W)`: where the object is before or after the exact edit; None when that is unknown.

    The object after the edit is taken from the sample's metadata, or else is the object before it, turned by the wanted
    angle about the pivot.
    """
    before, after = sample.meta.object_mask, sample.meta.object_mask_target
    if before is None:
        return None
    if after is None:
        if sample.meta.pivot is None or sample.meta.angle is None:
            return None
        after = turn_mask(before, sample.meta.pivot, sample.meta.angle)
    return before | after


def target_regions(sample: DragSample) -> Iterator[tuple[str, np.ndarray, np.ndarray | None]]:
    """What a picture is compared to for fidelity to the exact result; nothing where there is none.

    Yields:
        Prefix of the metrics' names, the exact result, uint8 `(H, W, 3)`, and the region that counts, bool `(H, W)`:
        everything (None), and inside and outside the touched region where it is known.
    """
    if sample.target is None:
        return
    yield "", sample.target, None
    touched = touched_region(sample)
    if touched is not None:
        yield "inside_", sample.target, touched
        yield "outside_", sample.target, ~touched
