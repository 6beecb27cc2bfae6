"""Mean distance (MD): how far from their targets the dragged places are found again, by diffusion features.

Source: DragDiffusion (Shi et al., arXiv 2306.14435), with the features of DIFT (Tang et al., arXiv 2306.03881).
"""

from __future__ import annotations

import numpy as np
import torch

from evaluation.metrics.checks import require_pairs
from rotationbench.diffusion.dift import correspond
from rotationbench.points import ImagePoints


def mean_distance(
    source_features: torch.Tensor,
    edited_features: torch.Tensor,
    sources: ImagePoints,
    targets: ImagePoints,
    size: tuple[int, int],
    *,
    within: np.ndarray | None = None,
) -> float:
    """Mean over the pairs of |found − target| in pixels.

    A source is found again at the pixel of the edited picture whose feature has the largest cosine similarity to the
    feature of the source picture at the source.

    Args:
        source_features: `(1, C, h, w)` of the picture before the edit.
        edited_features: `(1, C, h, w)` of the picture after it.
        sources: `N` points in image pixels.
        targets: `N` points in image pixels.
        size: `(height, width)` of both pictures in pixels.
        within: bool `(N, height, width)`, where each source may be found; None means anywhere.

    Returns:
        Pixels, 0 at best.

    Raises:
        ValueError: when there are no pairs, or unequal numbers of points.
    """
    require_pairs(sources, targets)
    found = correspond(source_features, edited_features, sources, size, within=within)
    return float(np.linalg.norm(found.xy - targets.xy, axis=1).mean())
