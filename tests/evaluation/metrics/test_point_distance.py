"""Mean distance and masked mean distance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

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
