"""PSNR and SSIM."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from synthetic_results import make_sample
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from evaluation.metrics.psnr import psnr
from evaluation.metrics.ssim import ssim


@pytest.fixture
def pictures() -> tuple[np.ndarray, np.ndarray]:
    sample = make_sample(0, 64)
    noise = np.random.default_rng(0).normal(0, 20, sample.image.shape)
    return sample.image, np.clip(sample.image + noise, 0, 255).astype(np.uint8)


def as_tensor(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1)[None].to(torch.float64)


def test_psnr_agrees_with_torchmetrics(pictures):
    expected = peak_signal_noise_ratio(as_tensor(pictures[1]), as_tensor(pictures[0]), data_range=255.0)
    assert psnr(*pictures) == pytest.approx(float(expected))


def test_psnr_of_a_region_counts_that_region_alone(pictures):
    reference = np.zeros((8, 8, 3), np.uint8)
    picture = reference.copy()
    picture[:4] = 51
    picture[4:] = 255
    upper = np.zeros((8, 8), bool)
    upper[:4] = True
    # 20·log10(255 / 51)
    assert psnr(reference, picture, upper) == pytest.approx(20 * math.log10(5))
    assert psnr(reference, picture, ~upper) == pytest.approx(0)


def test_identical_pictures_have_infinite_psnr_and_ssim_one(pictures):
    assert psnr(pictures[0], pictures[0]) == math.inf
    assert ssim(pictures[0], pictures[0]) == pytest.approx(1)


def test_ssim_agrees_with_torchmetrics(pictures):
    # Torchmetrics pads by reflection and keeps all pixels; half a window from the border the two agree.
    inner = np.zeros(pictures[0].shape[:2], bool)
    inner[5:-5, 5:-5] = True
    _, local = structural_similarity_index_measure(
        as_tensor(pictures[1]), as_tensor(pictures[0]), data_range=255.0, return_full_image=True
    )
    expected = local[0].mean(0).numpy()[inner].mean()
    assert ssim(*pictures) == pytest.approx(expected, abs=1e-4)
    assert ssim(*pictures, inner) == pytest.approx(expected, abs=1e-4)


def test_an_empty_region_has_no_value(pictures):
    empty = np.zeros(pictures[0].shape[:2], bool)
    assert psnr(*pictures, empty) is None
    assert ssim(*pictures, empty) is None
    assert ssim(np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8)) is None


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_bad_input_says_what_came(metric, pictures):
    with pytest.raises(ValueError, match="same size"):
        metric(pictures[0], pictures[1][:-2])
    with pytest.raises(ValueError, match="uint8"):
        metric(pictures[0], pictures[1].astype(np.float32))
    with pytest.raises(ValueError, match=r"region bool \(64, 64\), got float64 \(64, 64\)"):
        metric(*pictures, np.zeros((64, 64)))
