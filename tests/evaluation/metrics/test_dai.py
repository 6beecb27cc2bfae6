"""DAI, and what all metrics of pairs of points refuse."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evaluation.metrics.dai import dragging_accuracy_index
from evaluation.metrics.point_distance import mean_distance, search_discs
from rotationbench.points import ImagePoints

SIZE = (16, 20)


def test_dai_of_a_constant_difference_is_its_square_over_three_channels():
    source, edited = np.full((*SIZE, 3), 51, np.uint8), np.full((*SIZE, 3), 102, np.uint8)
    point = ImagePoints.of([(8, 8)])
    for radius in (0, 1, 5, 20):
        assert dragging_accuracy_index(source, edited, point, point, radius) == pytest.approx(3 * 0.2**2)


def test_dai_of_moved_content_is_zero_and_otherwise_that_of_the_patches():
    rng = np.random.default_rng(0)
    source = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    moved = np.roll(source, (2, 3), axis=(0, 1))
    start, end = ImagePoints.of([(6, 6)]), ImagePoints.of([(9, 8)])
    assert dragging_accuracy_index(source, moved, start, end, 3) == 0
    patches = source[5:8, 5:8] / 255.0, source[7:10, 8:11] / 255.0
    expected = ((patches[0] - patches[1]) ** 2).sum() / 9
    assert dragging_accuracy_index(source, source, start, end, 1) == pytest.approx(expected)


def test_dai_leaves_out_what_falls_off_either_picture():
    rng = np.random.default_rng(1)
    source, edited = rng.integers(0, 256, (2, *SIZE, 3), dtype=np.uint8)
    # Around (0, 0) only offsets of at least 0 exist, around (19, 10) only columns of at most 0: a column of two rows.
    found = dragging_accuracy_index(source, edited, ImagePoints.of([(0, 0)]), ImagePoints.of([(19, 10)]), 1)
    difference = source[0:2, 0] / 255.0 - edited[10:12, 19] / 255.0
    assert found == pytest.approx((difference**2).sum(axis=-1).mean())


def test_bad_input_says_what_came():
    picture, point = np.zeros((*SIZE, 3), np.uint8), ImagePoints.of([(1, 1)])
    nothing = ImagePoints.of([])
    with pytest.raises(ValueError, match="same size, got"):
        dragging_accuracy_index(picture, picture[:-1], point, point, 1)
    with pytest.raises(ValueError, match="float64"):
        dragging_accuracy_index(picture, picture / 255, point, point, 1)
    with pytest.raises(ValueError, match="at least 0, got -1"):
        dragging_accuracy_index(picture, picture, point, point, -1)
    with pytest.raises(ValueError, match="at least one, got 0 and 0"):
        mean_distance(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4), nothing, nothing, SIZE)
    with pytest.raises(ValueError, match="got 0 and 1"):
        search_discs(point, nothing, SIZE)
