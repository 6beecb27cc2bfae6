from __future__ import annotations

import pytest
import torch

from rotationbench.diffusion.core import grid_features
from rotationbench.diffusion.grid import FeatureGrid


@pytest.mark.parametrize(("cells", "size"), [((16, 12), (128, 96)), ((5, 7), (90, 122)), ((64, 48), (128, 96))])
def test_a_window_is_what_resizing_all_of_it_gives_there(cells, size):
    features = torch.randn(1, 6, *cells, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    grid, whole = FeatureGrid(features, size), grid_features(features, size)
    assert grid.shape == whole.shape
    torch.testing.assert_close(grid.whole(), whole, rtol=0, atol=0)
    rows, cols = grid.shape[2:]
    for place in ((range(rows), range(cols)), (range(3), range(cols - 2, cols)), (range(20, 27), range(11, 12))):
        expected = whole[:, :, place[0].start : place[0].stop, place[1].start : place[1].stop]
        torch.testing.assert_close(grid.window(*place), expected, rtol=1e-12, atol=1e-12)


def test_gradients_are_those_of_resizing_all_of_it():
    start = torch.randn(1, 3, 8, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    gradients = []
    for read in (
        lambda features: FeatureGrid(features, (64, 48)).window(range(4, 9), range(10, 14)),
        lambda features: grid_features(features, (64, 48))[:, :, 4:9, 10:14],
    ):
        features = start.clone().requires_grad_(True)
        gradients += torch.autograd.grad(read(features).square().sum(), features)
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)
    assert not FeatureGrid(start.requires_grad_(True), (64, 48)).detach().window(range(2), range(2)).requires_grad


def test_cells_that_are_equal_on_paper_are_equal():
    """The first two rows of a grid four times as fine lie outside the first features' centres: ties for a search."""
    features = torch.rand(1, 9, 16, 16, generator=torch.Generator().manual_seed(2))
    window = FeatureGrid(features, (128, 128)).window(range(9), range(5, 14))
    torch.testing.assert_close(window[:, :, 0], window[:, :, 1], rtol=0, atol=0)
