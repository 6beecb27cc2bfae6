from __future__ import annotations

import pytest
import torch

from methods.latent_drag import motion_supervision, nearest_feature, nearest_features, read_bilinear
from rotationbench.diffusion.core import grid_features
from rotationbench.diffusion.grid import FeatureGrid


def test_bilinear_reading_agrees_with_an_independent_formula():
    # Bilinear interpolation reproduces a·row + b·col + c·row·col exactly.
    rows, cols = torch.meshgrid(torch.arange(7.0), torch.arange(9.0), indexing="ij")
    features = (2 * rows - 3 * cols + 0.5 * rows * cols)[None, None]
    at_rows, at_cols = torch.tensor([0.25, 3.5, 5.9]), torch.tensor([0.0, 4.75, 7.1])
    r, c = at_rows[:, None], at_cols[None, :]
    torch.testing.assert_close(read_bilinear(features, at_rows, at_cols)[0, 0], 2 * r - 3 * c + 0.5 * r * c)
    outside = read_bilinear(features, torch.tensor([-5.0, 20.0]), torch.tensor([-1.0, 30.0]))
    torch.testing.assert_close(outside[0, 0], features[0, 0][[0, -1]][:, [0, -1]])


def test_motion_supervision_pulls_content_towards_the_target():
    # The feature rises with the column, so the patch one column ahead is higher by one everywhere.
    features = torch.arange(16.0).repeat(16, 1)[None, None].requires_grad_(True)
    loss = motion_supervision(features, torch.tensor([8.0, 8.0]), torch.tensor([8.0, 14.0]), r_m=1)
    assert loss.item() == pytest.approx(9.0)
    (gradient,) = torch.autograd.grad(loss, features)
    # One cell ahead of the 3×3 patch; the patch itself is held fixed.
    moved = {tuple(cell) for cell in torch.nonzero(gradient[0, 0]).tolist()}
    assert moved == {(row, col) for row in (7, 8, 9) for col in (8, 9, 10)}


def test_handles_are_found_together_with_the_device_waited_for_once(monkeypatch):
    features = torch.randn(1, 5, 20, 20, generator=torch.Generator().manual_seed(3))
    handles = torch.tensor([[10.0, 10.0], [0.0, 19.0], [4.0, 7.0]])
    references = [features[0, :, 12, 8], features[0, :, 2, 17], features[0, :, 4, 7]]
    waited = []
    cpu = torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: waited.append(tensor) or cpu(tensor))
    found = nearest_features(features, references, handles, r_t=3)
    assert found.tolist() == [[12.0, 8.0], [2.0, 17.0], [4.0, 7.0]]
    assert len(waited) == 1


@pytest.mark.parametrize("handle", [(20.0, 13.0), (0.0, 0.0), (63.0, 20.0), (31.0, 47.0)])
def test_supervision_and_tracking_need_only_the_cells_that_they_look_at(handle):
    """Computed where they look, features give the loss, gradient and cell that features of the whole grid give."""
    start = torch.randn(1, 6, 16, 12, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    place, target = torch.tensor(handle, dtype=torch.float64), torch.tensor([30.0, 30.0], dtype=torch.float64)
    found = []
    for make in (
        lambda features: FeatureGrid(features, (128, 96)),
        lambda features: grid_features(features, (128, 96)),
    ):
        features = start.clone().requires_grad_(True)
        loss = motion_supervision(make(features), place, target, r_m=2)
        (gradient,) = torch.autograd.grad(loss, features)
        with torch.no_grad():
            cell = nearest_feature(make(features), torch.ones(6, dtype=torch.float64), place, r_t=4)
        found.append((loss.detach(), gradient, cell))
    for lazily, whole in zip(*found, strict=True):
        torch.testing.assert_close(lazily, whole, rtol=1e-10, atol=1e-12)


def test_nearest_feature_searches_the_window_only():
    features = torch.zeros(1, 2, 20, 20)
    features[0, :, 12, 9] = 5.0
    features[0, :, 2, 2] = 6.0
    reference = torch.tensor([6.0, 6.0])
    found = nearest_feature(features, reference, torch.tensor([10.0, 10.0]), r_t=3)
    assert found.tolist() == [12.0, 9.0]
    corner = nearest_feature(features, reference, torch.tensor([0.0, 0.0]), r_t=3)
    assert corner.tolist() == [2.0, 2.0]
