"""Dragging accuracy index (DAI): how much the surroundings of a target look like those of its source did.

Source: GoodDrag (Zhang et al., arXiv 2404.07206, equation 8).
"""

from __future__ import annotations

import numpy as np

from evaluation.metrics.base import Edited, Metric, MetricFamily, Values
from evaluation.metrics.checks import nearest_pixels, require_pairs, require_same_pictures
from rotationbench.points import ImagePoints

RADII = (1, 5, 10, 20)
"""γ in pixels."""


def dragging_accuracy_index(
    source: np.ndarray, edited: np.ndarray, sources: ImagePoints, targets: ImagePoints, radius: int
) -> float:
    """Mean over the pairs and the pixels of a patch of the squared RGB distance, with colours in [0, 1].

    The patches have (2γ + 1)² pixels, around the source before the edit and around the target after it. Pixels that
    fall off either picture are left out of both patches.

    Args:
        source: uint8 `(H, W, 3)`, the picture before the edit.
        edited: uint8 `(H, W, 3)`, the picture after it.
        sources: `N` points in image pixels.
        targets: `N` points in image pixels.
        radius: γ in pixels, at least 0.

    Returns:
        Between 0, at best, and 3.

    Raises:
        ValueError: when the pictures, the points or the radius do not fit.
    """
    require_same_pictures(source, edited)
    require_pairs(sources, targets)
    if radius < 0:
        raise ValueError(f"Expected a radius of at least 0, got {radius}.")
    height, width = source.shape[:2]
    first, second = source.astype(np.float64) / 255, edited.astype(np.float64) / 255
    offsets = np.arange(-radius, radius + 1)
    indices = []
    for (sx, sy), (tx, ty) in zip(
        nearest_pixels(sources, (height, width)), nearest_pixels(targets, (height, width)), strict=True
    ):
        x = offsets[(np.minimum(sx, tx) + offsets >= 0) & (np.maximum(sx, tx) + offsets < width)]
        y = offsets[(np.minimum(sy, ty) + offsets >= 0) & (np.maximum(sy, ty) + offsets < height)]
        difference = first[np.ix_(sy + y, sx + x)] - second[np.ix_(ty + y, tx + x)]
        indices.append((difference**2).sum(axis=-1).mean())
    return float(np.mean(indices))


class DraggingAccuracy(MetricFamily):
    """DAI at four radii, over the pairs that are to be dragged."""

    metrics = tuple(
        Metric(
            f"dai_{radius}",
            f"DAI γ={radius}",
            "lower",
            "",
            "accuracy",
            20 + index,
            digits=3,
            published="The formula of GoodDrag's paper, over the pairs that are to be dragged; ours.",
        )
        for index, radius in enumerate(RADII)
    )

    def measure(self, edit: Edited) -> Values:
        """See `MetricFamily.measure`."""
        sample = edit.sample
        sources, targets = sample.sources[~sample.is_pivot], sample.targets[~sample.is_pivot]
        if len(sources) == 0:
            return dict.fromkeys(metric.name for metric in self.metrics)
        return {
            f"dai_{radius}": dragging_accuracy_index(sample.image, edit.picture, sources, targets, radius)
            for radius in RADII
        }
