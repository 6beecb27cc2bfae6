"""LPIPS and its shift-tolerant variant."""

from __future__ import annotations

import lpips
import numpy as np
import pytest
import torch
import torchvision

from evaluation.metrics.perceptual import load_lpips, load_st_lpips, perceptual_distances
from rotationbench.errors import MissingWeightsError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def st_lpips() -> torch.nn.Module:
    return load_st_lpips(CPU)


def direct(network: torch.nn.Module, first: np.ndarray, second: np.ndarray) -> float:
    """The network's own answer for 224² pictures."""
    tensors = [torch.from_numpy(item / 127.5 - 1).permute(2, 0, 1)[None].float() for item in (first, second)]
    with torch.no_grad():
        return float(network(*tensors))


def test_st_lpips_is_the_network_s_answer_pair_by_pair(st_lpips, pictures):
    first, second = pictures
    found = perceptual_distances(st_lpips, [first, first], [second, first], CPU)
    assert found == pytest.approx([direct(st_lpips, first, second), 0], abs=1e-5)


def test_st_lpips_forgives_a_shift_of_a_pixel_more_than_other_content(st_lpips, pictures):
    first, second = pictures
    shifted, other = perceptual_distances(st_lpips, [first] * 2, [np.roll(first, 1, axis=1), second], CPU)
    assert 0 < shifted < 0.2 * other


def test_pictures_of_different_sizes_share_a_batch(st_lpips, pictures):
    small = pictures[0][:100, :150]
    together = perceptual_distances(st_lpips, [pictures[0], small], [pictures[1], small[::-1].copy()], CPU)
    alone = perceptual_distances(st_lpips, [small], [small[::-1].copy()], CPU)
    assert together[1] == pytest.approx(alone[0], rel=1e-4)


def test_two_sizes_in_a_pair_are_refused(st_lpips, pictures):
    with pytest.raises(ValueError, match="same size"):
        perceptual_distances(st_lpips, pictures[:1], [pictures[1][:-8]], CPU)


def test_lpips_without_its_backbone_names_the_command(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(MissingWeightsError, match=r"python -c .*alexnet\(weights='DEFAULT'\)"):
        load_lpips(CPU)


def test_lpips_is_the_package_s_when_the_backbone_is_there(monkeypatch, tmp_path, pictures):
    # A backbone with random weights stands in for the one that would have to be downloaded.
    torch.manual_seed(0)
    backbone = torchvision.models.alexnet(weights=None)
    monkeypatch.setattr(torchvision.models, "alexnet", lambda **_: backbone)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "alexnet-owt-7be5be79.pth").touch()
    expected = direct(lpips.LPIPS(net="alex", verbose=False), *pictures)
    assert perceptual_distances(load_lpips(CPU), pictures[:1], pictures[1:], CPU) == pytest.approx([expected], rel=1e-4)
