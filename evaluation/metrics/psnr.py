"""Peak signal-to-noise ratio, of a whole picture or of a region."""

from __future__ import annotations

import math

import numpy as np
from skimage.metrics import peak_signal_noise_ratio

from evaluation.metrics.checks import require_region, require_same_pictures


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
