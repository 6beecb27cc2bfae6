"""Masked mean distance (m-MD): the mean distance when each source is only looked for near its source and target.

Source: RegionDrag (Lu et al., arXiv 2407.18247, section 4). It reports fractions of the picture's sides; here the unit
is the pixel, as for the mean distance.
"""

from __future__ import annotations

import numpy as np

from evaluation.metrics.checks import require_pairs
from rotationbench.points import ImagePoints

SMALLEST_RADIUS = 5.0
"""Radius in pixels of the discs of pairs that are close together."""


def search_discs(sources: ImagePoints, targets: ImagePoints, size: tuple[int, int]) -> np.ndarray:
    """Where `mean_distance` may find each source: open discs of radius max(|target − source|/√2, 5 px) around both.

    Args:
        sources: `N` points in image pixels.
        targets: `N` points in image pixels.
        size: `(height, width)` of the picture in pixels.

    Returns:
        bool `(N, height, width)`.

    Raises:
        ValueError: when there are no pairs, or unequal numbers of points.
    """
    require_pairs(sources, targets)
    height, width = size
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x, y], axis=-1)[None]
    radius = np.maximum(np.linalg.norm(targets.xy - sources.xy, axis=1) / np.sqrt(2), SMALLEST_RADIUS)
    near = [
        np.linalg.norm(pixels - points.xy[:, None, None], axis=-1) < radius[:, None, None]
        for points in (sources, targets)
    ]
    return near[0] | near[1]
