"""Mean distance, masked mean distance and DAI: the metrics of pairs of points."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evaluation.metrics.dai import dragging_accuracy_index
from evaluation.metrics.point_distance import mean_distance, search_discs
from rotationbench.points import ImagePoints

SIZE = (16, 20)


def one_hot_features(places: dict[tuple[int, int], int]) -> torch.Tensor:
    """Features that are a unit vector of their own at each `(x, y)` of `places`, and another one everywhere else."""
    features = torch.zeros(1, len(places) + 1, *SIZE)
    features[:, -1] = 1.0
    for (x, y), channel in places.items():
        features[0, :, y, x] = 0
        features[0, channel, y, x] = 1
    return features


def test_mean_distance_is_the_mean_way_from_where_the_content_is_to_the_target():
    before = one_hot_features({(2, 3): 0, (10, 8): 1})
    after = one_hot_features({(5, 7): 0, (10, 8): 1})
    sources = ImagePoints.of([(2, 3), (10, 8)])
    # The first content went to (5, 7), 5 px from (2, 3) and 0 px from its target; the second stayed, 3 px from its own.
    assert mean_distance(before, after, sources, ImagePoints.of([(5, 7), (13, 8)]), SIZE) == pytest.approx(1.5)
    assert mean_distance(before, after, sources, sources, SIZE) == pytest.approx(2.5)
    assert mean_distance(before, before, sources, sources, SIZE) == 0


def test_mean_distance_looks_only_where_it_may():
    before, after = one_hot_features({(2, 3): 0}), one_hot_features({(18, 14): 0})
    source, target = ImagePoints.of([(2, 3)]), ImagePoints.of([(4, 3)])
    within = search_discs(source, target, SIZE)
    assert not within[0, 14, 18]
    free = mean_distance(before, after, source, target, SIZE)
    masked = mean_distance(before, after, source, target, SIZE, within=within)
    assert free == pytest.approx(np.hypot(14, 11))
    assert masked < 2 + 5


def test_search_discs_against_a_loop_over_pixels():
    sources, targets = ImagePoints.of([(2, 3), (10.5, 8)]), ImagePoints.of([(17, 12), (11, 8)])
    found = search_discs(sources, targets, SIZE)
    for index in range(2):
        radius = max(np.linalg.norm(targets.xy[index] - sources.xy[index]) / 2**0.5, 5)
        for y in range(SIZE[0]):
            for x in range(SIZE[1]):
                near = [np.hypot(x - px, y - py) < radius for px, py in (sources.xy[index], targets.xy[index])]
                assert found[index, y, x] == any(near)


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
