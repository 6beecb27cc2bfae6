"""Structural similarity, of a whole picture or of a region.

Source: Wang et al., "Image quality assessment: from error visibility to structural similarity" (2004), with its
Gaussian window of σ = 1.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from skimage.metrics import structural_similarity

from evaluation.metrics.base import Edited, Metric, MetricFamily, Values, installed_version
from evaluation.metrics.checks import require_region, require_same_pictures
from evaluation.metrics.regions import target_regions

if TYPE_CHECKING:
    from rotationbench.diffusion.core import StableDiffusion

WINDOW = 11
"""Pixels on a side of the Gaussian window."""


def ssim(reference: np.ndarray, picture: np.ndarray, region: np.ndarray | None = None) -> float | None:
    """Mean SSIM over the channels and the pixels that count, by scikit-image.

    Args:
        reference: uint8 `(H, W, 3)`.
        picture: uint8 `(H, W, 3)`.
        region: bool `(H, W)`, the pixels whose local similarity counts; None means all but the border of half a window,
            as in the paper.

    Returns:
        At most 1, None when the region is empty or the picture is smaller than a window.

    Raises:
        ValueError: when shapes or dtypes do not fit together.
    """
    require_same_pictures(reference, picture)
    require_region(region, reference.shape[:2])
    if min(reference.shape[:2]) < WINDOW or (region is not None and not region.any()):
        return None
    mean, local = structural_similarity(
        reference,
        picture,
        data_range=255,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    return float(mean if region is None else local[region].mean())


class Ssim(MetricFamily):
    """SSIM against the source picture, and against the exact result of everything and of regions."""

    metrics = (
        Metric("ssim", "SSIM", "higher", "", "fidelity", 41, digits=3),
        Metric("ssim_target", "SSIM to target", "higher", "", "target", 11, digits=3),
        Metric("inside_ssim_target", "inside SSIM to target", "higher", "", "target", 21, digits=3),
        Metric("outside_ssim_target", "outside SSIM to target", "higher", "", "target", 31, digits=3),
    )

    def described_tools(self, core: StableDiffusion | None) -> str:
        """See `MetricFamily.described_tools`."""
        return f"scikit-image {installed_version('scikit-image')}"

    def measure(self, edit: Edited) -> Values:
        """See `MetricFamily.measure`."""
        values: Values = {"ssim": ssim(edit.sample.image, edit.picture)}
        for prefix, target, region in target_regions(edit.sample):
            values[f"{prefix}ssim_target"] = ssim(target, edit.picture, region)
        return values
