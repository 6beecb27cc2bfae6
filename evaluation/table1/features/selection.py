"""Which of the keypoints that a network finds are kept."""

from __future__ import annotations

import torch

MOST_KEYPOINTS = 1_000_000
LARGEST_RADIUS = 64
"""Pixels; a larger suppression takes minutes and leaves next to nothing."""
BORDER = 4
"""Pixels at each of the four borders in which keypoints are artefacts of the padding, and are dropped."""


def select(xy: torch.Tensor, scores: torch.Tensor, size: tuple[int, int], count: int) -> torch.Tensor:
    """Indices of the keypoints with the highest scores, highest first, none of them within 4 px of a border.

    Args:
        xy: `(N, 2)` in whole pixels.
        scores: `(N,)`.
        size: `(height, width)` of what the network looked at, in pixels.
        count: keypoints at most; 0 means all.

    Returns:
        int64 `(K,)`.
    """
    height, width = size
    limits = xy.new_tensor([width - BORDER, height - BORDER])
    inside = ((xy >= BORDER) & (xy < limits)).all(dim=1)
    order = scores.argsort(descending=True, stable=True)
    return order[inside[order]][: count or None]
