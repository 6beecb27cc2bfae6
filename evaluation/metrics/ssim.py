"""Structural similarity, of a whole picture or of a region.

Source: Wang et al., "Image quality assessment: from error visibility to structural similarity" (2004), with its
Gaussian window of σ = 1.5.
"""

from __future__ import annotations

import numpy as np
from skimage.metrics import structural_similarity

from evaluation.metrics.checks import require_region, require_same_pictures

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
