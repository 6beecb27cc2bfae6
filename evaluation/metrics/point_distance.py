"""Mean distances: how far from their targets the dragged places are found again, by diffusion features.

Sources: MD of DragDiffusion (Shi et al., arXiv 2306.14435), with the features of DIFT (Tang et al., arXiv 2306.03881);
masked, m-MD, of RegionDrag (Lu et al., arXiv 2407.18247, section 4), which reports fractions of the picture's sides.
"""

from __future__ import annotations

import numpy as np
import torch

from evaluation.metrics.base import Edited, FeatureFamily, Metric, Values
from evaluation.metrics.checks import require_pairs
from rotationbench.diffusion.dift import correspond
from rotationbench.points import ImagePoints

SMALLEST_RADIUS = 5.0
"""Radius in pixels of the discs of pairs that are close together."""


def mean_distance(
    source_features: torch.Tensor,
    edited_features: torch.Tensor,
    sources: ImagePoints,
    targets: ImagePoints,
    size: tuple[int, int],
    *,
    within: np.ndarray | None = None,
) -> float:
    """Mean over the pairs of |found − target| in pixels; arguments and errors as `point_distances`."""
    return float(point_distances(source_features, edited_features, sources, targets, size, within=within).mean())


def point_distances(
    source_features: torch.Tensor,
    edited_features: torch.Tensor,
    sources: ImagePoints,
    targets: ImagePoints,
    size: tuple[int, int],
    *,
    within: np.ndarray | None = None,
) -> np.ndarray:
    """|found − target| in pixels of each pair.

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
        float64 `(N,)`, 0 at best.

    Raises:
        ValueError: when there are no pairs, or unequal numbers of points.
    """
    require_pairs(sources, targets)
    found = correspond(source_features, edited_features, sources, size, within=within)
    return np.linalg.norm(found.xy - targets.xy, axis=1)


def search_discs(sources: ImagePoints, targets: ImagePoints, size: tuple[int, int]) -> np.ndarray:
    """Where m-MD may find each source: open discs of radius max(|target − source|/√2, 5 px) around both.

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


class PointDistance(FeatureFamily):
    """Mean distance, of handles and of pivots apart, and masked mean distance of handles."""

    metrics = (
        Metric("mean_distance", "MD", "lower", "px", "accuracy", 10, fast=True, main=True),
        Metric("mean_distance_pivot", "MD of pivots", "lower", "px", "accuracy", 11, fast=True),
        Metric("mm_distance", "m-MD", "lower", "px", "accuracy", 12),
    )

    def measure(self, edit: Edited) -> Values:
        """See `MetricFamily.measure`."""
        sample = edit.sample
        before, after = self.features(edit)
        values: Values = {}
        for name in {metric.name for metric in self.metrics}.intersection(edit.names):
            pairs = sample.is_pivot if name == "mean_distance_pivot" else ~sample.is_pivot
            sources, targets = sample.sources[pairs], sample.targets[pairs]
            if len(sources) == 0:
                values[name] = None
                continue
            within = search_discs(sources, targets, sample.size) if name == "mm_distance" else None
            values[name] = mean_distance(before, after, sources, targets, sample.size, within=within)
        return values
