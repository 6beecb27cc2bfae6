from __future__ import annotations

from dataclasses import replace

from synthetic_results import make_sample

from evaluation.metrics.regions import touched_region


def test_the_touched_region_is_the_object_before_and_after():
    sample = make_sample(2, 64, angle=90)
    region = touched_region(sample)
    assert (region == (sample.meta.object_mask | sample.meta.object_mask_target)).all()
    derived = touched_region(replace(sample, meta=replace(sample.meta, object_mask_target=None)))
    assert (region != derived).mean() < 0.01
    assert touched_region(replace(sample, meta=replace(sample.meta, object_mask=None))) is None
    unknown = replace(sample.meta, object_mask_target=None, pivot=None)
    assert touched_region(replace(sample, meta=unknown)) is None
