"""Which of the keypoints that a network finds are kept."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from evaluation.table1.estimation import Estimator
from rotationbench.settings import check_between

MOST_KEYPOINTS = 1_000_000
LARGEST_RADIUS = 64
"""Pixels; a larger suppression takes minutes and leaves next to nothing."""
BORDER = 4
"""Pixels at each of the four borders in which keypoints are artefacts of the padding, and are dropped."""


@dataclass
class Selection:
    """What the settings of both SuperPoints share.

    Args:
        max_keypoints: keypoints with the highest score that are kept; 0 keeps all.
        keypoint_threshold: score below which keypoints are dropped.
        nms_radius: radius of the non-maximum suppression, in pixels.
        estimator: how the homography is estimated.

    Raises:
        ConfigError: when a value lies outside its range.
    """

    max_keypoints: int = 1000
    keypoint_threshold: float = 0.005
    nms_radius: int = 4
    estimator: Estimator = field(default_factory=Estimator)

    def __post_init__(self) -> None:
        check_between(self, 0, MOST_KEYPOINTS, "max_keypoints", section="")
        check_between(self, 0, 1, "keypoint_threshold", section="")
        check_between(self, 0, LARGEST_RADIUS, "nms_radius", section="")


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
