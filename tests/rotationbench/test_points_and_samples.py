from __future__ import annotations

import numpy as np
import pytest

from rotationbench.points import GridPoints, ImagePoints
from rotationbench.sample import DragSample, SampleMeta


def make_sample(**changes) -> DragSample:
    values = {
        "name": "one",
        "image": np.zeros((60, 100, 3), dtype=np.uint8),
        "prompt": "",
        "sources": ImagePoints.of([(10, 20), (50, 30)]),
        "targets": ImagePoints.of([(20, 20), (50, 30)]),
    }
    return DragSample(**(values | changes))


def test_grid_cells_are_row_and_column_rounded_half_to_even():
    points = ImagePoints.of([(0, 0), (1, 3), (5, 7), (99, 59)])
    # x = 1 is column 0.5, which rounds to 0; x = 3 would be 1.5, which rounds to 2.
    assert points.to_grid((60, 100)).rc.tolist() == [[0, 0], [2, 0], [4, 2], [29, 49]]


def test_grid_and_image_agree_up_to_half_a_cell():
    points = ImagePoints(np.random.default_rng(0).uniform([0, 0], [99, 60], (50, 2)))
    back = points.to_grid((61, 100)).to_image((61, 100))
    assert np.abs(back.xy - points.xy).max() <= 2.0


@pytest.mark.parametrize("bad", [np.zeros((2, 3)), np.array([[np.nan, 0]])])
def test_bad_points_are_refused(bad):
    with pytest.raises(ValueError, match="Expected"):
        ImagePoints(bad)
    import torch

    with pytest.raises(ValueError, match="Expected"):
        GridPoints(torch.zeros(2, 3))


def test_pivot_pairs_are_those_that_stay():
    assert make_sample().is_pivot.tolist() == [False, True]


def test_resizing_moves_points_masks_and_pivot_along():
    mask = np.zeros((60, 100), dtype=bool)
    mask[:30] = True
    sample = make_sample(mask=mask, target=np.zeros((60, 100, 3), dtype=np.uint8), meta=SampleMeta(pivot=(50.0, 30.0)))
    smaller = sample.resized((30, 200))
    assert smaller.size == (30, 200)
    assert smaller.sources.xy.tolist() == [[20, 10], [100, 15]]
    assert smaller.meta.pivot == (100.0, 15.0)
    assert smaller.mask.mean() == 0.5
    assert smaller.target.shape == (30, 200, 3)
    assert sample.resized((60, 100)) is sample


def test_the_digest_sees_what_a_method_sees_and_no_more():
    sample = make_sample()
    assert sample.digest == make_sample(name="two", meta=SampleMeta(split="real")).digest
    changed = [
        make_sample(prompt="a"),
        make_sample(mask=np.ones((60, 100), dtype=bool)),
        make_sample(targets=ImagePoints.of([(21, 20), (50, 30)])),
        make_sample(image=np.ones((60, 100, 3), dtype=np.uint8)),
    ]
    assert len({sample.digest, *(other.digest for other in changed)}) == 5


@pytest.mark.parametrize(
    "bad",
    [
        {"image": np.zeros((60, 100), dtype=np.uint8)},
        {"image": np.zeros((60, 100, 3), dtype=np.float32)},
        {"mask": np.zeros((60, 99), dtype=bool)},
        {"target": np.zeros((10, 100, 3), dtype=np.uint8)},
        {"sources": ImagePoints.of([(1, 1)])},
        {"meta": SampleMeta(object_mask=np.zeros((1, 1), dtype=bool))},
    ],
)
def test_parts_that_do_not_fit_are_refused(bad):
    with pytest.raises(ValueError, match="Expected"):
        make_sample(**bad)
