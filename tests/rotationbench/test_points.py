from __future__ import annotations

import numpy as np
import pytest

from rotationbench.points import GridPoints, ImagePoints


def test_grid_cells_are_row_and_column_rounded_half_to_even():
    points = ImagePoints.of([(0, 0), (1, 3), (5, 7), (99, 59)])
    # x = 1 is column 0.5, which rounds to 0; x = 3 would be 1.5, which rounds to 2.
    assert points.to_grid((60, 100)).rc.tolist() == [[0, 0], [2, 0], [4, 2], [29, 49]]


def test_grid_and_image_agree_up_to_half_a_cell():
    points = ImagePoints(np.random.default_rng(0).uniform([0, 0], [99, 60], (50, 2)))
    back = points.to_grid((61, 100)).to_image((61, 100))
    assert np.abs(back.xy - points.xy).max() <= 2.0


def test_the_unrounded_grid_gives_the_very_points_back():
    points = ImagePoints(np.random.default_rng(0).uniform([-5, -5], [105, 70], (50, 2)))
    cells = points.to_unrounded_grid((61, 100))
    np.testing.assert_allclose(cells.to_image((61, 100)).xy, points.xy, atol=1e-12)
    np.testing.assert_allclose(cells.rc[:, 0].numpy(), points.xy[:, 1] / 61 * 30)


@pytest.mark.parametrize("bad", [np.zeros((2, 3)), np.array([[np.nan, 0]])])
def test_bad_points_are_refused(bad):
    with pytest.raises(ValueError, match="Expected"):
        ImagePoints(bad)
    import torch

    with pytest.raises(ValueError, match="Expected"):
        GridPoints(torch.zeros(2, 3))
