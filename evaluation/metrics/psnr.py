"""Peak signal-to-noise ratio, of a whole picture or of a region."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from skimage.metrics import peak_signal_noise_ratio

from evaluation.metrics.base import Edited, Metric, MetricFamily, Values, installed_version
from evaluation.metrics.checks import require_region, require_same_pictures
from evaluation.metrics.regions import target_regions, touched_region

if TYPE_CHECKING:
    from rotationbench.diffusion.core import StableDiffusion

CEILING = 100.0
"""Decibels that a PSNR above them, an infinite one included, counts for in means and differences."""


def psnr(reference: np.ndarray, picture: np.ndarray, region: np.ndarray | None = None) -> float | None:
    """PSNR in dB, by scikit-image; infinite where the pictures are the same.

    Args:
        reference: uint8 `(H, W, 3)`.
        picture: uint8 `(H, W, 3)`.
        region: bool `(H, W)`, the pixels that count; None means all.

    Returns:
        Decibels, `math.inf` for identical pixels, None when the region is empty.

    Raises:
        ValueError: when shapes or dtypes do not fit together.
    """
    require_same_pictures(reference, picture)
    require_region(region, reference.shape[:2])
    if region is not None:
        if not region.any():
            return None
        reference, picture = reference[region], picture[region]
    if np.array_equal(reference, picture):
        return math.inf
    return float(peak_signal_noise_ratio(reference, picture, data_range=255))


class Psnr(MetricFamily):
    """PSNR against the source picture and against the exact result, of everything and of regions."""

    metrics = (
        Metric("psnr", "PSNR", "higher", "dB", "fidelity", 40, ceiling=CEILING),
        Metric(
            "background_psnr",
            "PSNR outside mask",
            "higher",
            "dB",
            "fidelity",
            42,
            fast=True,
            main=True,
            ceiling=CEILING,
        ),
        Metric("untouched_psnr", "PSNR off the turn", "higher", "dB", "fidelity", 43, ceiling=CEILING),
        Metric("psnr_target", "PSNR to target", "higher", "dB", "target", 10, fast=True, main=True, ceiling=CEILING),
        Metric("inside_psnr_target", "inside PSNR to target", "higher", "dB", "target", 20, ceiling=CEILING),
        Metric("outside_psnr_target", "outside PSNR to target", "higher", "dB", "target", 30, ceiling=CEILING),
    )

    def described_tools(self, core: StableDiffusion | None) -> str:
        """See `MetricFamily.described_tools`."""
        return f"scikit-image {installed_version('scikit-image')}"

    def measure(self, edit: Edited) -> Values:
        """See `MetricFamily.measure`."""
        source, picture = edit.sample.image, edit.picture
        values: Values = {"psnr": psnr(source, picture)}
        for name, region in (
            ("background_psnr", edit.sample.mask),
            ("untouched_psnr", touched_region(edit.sample)),
        ):
            values[name] = None if region is None else psnr(source, picture, ~region)
        for prefix, target, region in target_regions(edit.sample):
            values[f"{prefix}psnr_target"] = psnr(target, picture, region)
        return values
