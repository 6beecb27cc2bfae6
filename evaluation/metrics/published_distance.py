"""Mean distances as released scripts compute them, to set beside numbers from papers.

- MD of DragDiffusion (github:Yujun-Shi/DragDiffusion, drag_bench_evaluation/run_eval_point_matching.py), which
  DragNoise, FastDrag, CLIPDrag, DragText, DragLoRA, GeoDrag and DirectDrag use: over all pairs, pivots included,
  pooled.
- m-MD in the mask of DragLoRA (github:Sylvie-X/DragLoRA, the script of the same name), which is MD_1 of DragFlow.
- m-MD in discs of RegionDrag (github:Visual-AI/RegionDrag, region_utils/evaluator.py), which is that of Inpaint4Drag
  and, times 100, MD_2 of DragFlow.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from evaluation.metrics.base import Edited, FeatureFamily, Metric, Values
from evaluation.metrics.checks import nearest_pixels, require_pairs
from evaluation.metrics.point_distance import SMALLEST_RADIUS, point_distances
from rotationbench.points import ImagePoints

REGIONDRAG_SIDE = 768
"""Pixels on a side of the square that RegionDrag reads features of."""


def float32_discs(sources: ImagePoints, targets: ImagePoints, size: tuple[int, int]) -> np.ndarray:
    """RegionDrag's discs: those of `search_discs`, computed in float32, which lets in some pixels on their rims.

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
    y, x = np.mgrid[:height, :width].astype(np.float32)
    ends = [points.xy.astype(np.float32)[:, :, None, None] for points in (sources, targets)]
    way = np.linalg.norm(targets.xy.astype(np.float32) - sources.xy.astype(np.float32), axis=1)
    radius = np.maximum(way / np.float32(2**0.5), np.float32(SMALLEST_RADIUS))[:, None, None]
    near = [np.sqrt((x - end[:, 0]) ** 2 + (y - end[:, 1]) ** 2) < radius for end in ends]
    return near[0] | near[1]


@torch.no_grad()
def correspond_by_nearest(
    source_features: torch.Tensor,
    edited_features: torch.Tensor,
    sources: ImagePoints,
    targets: ImagePoints,
    size: tuple[int, int],
) -> ImagePoints:
    """Where RegionDrag finds the sources: as `correspond` in its discs, with features enlarged by the nearest.

    All pixels of a feature's block are equally similar, and the first in reading order is taken: on an unchanged
    picture a place is found several pixels to the left of and above where it is.

    Args:
        source_features: `(1, C, h, w)` of the picture before the edit.
        edited_features: `(1, C, h, w)` of the picture after it.
        sources: `N` points in image pixels; the nearest pixel counts.
        targets: `N` points in image pixels.
        size: `(height, width)` of both pictures in pixels.

    Returns:
        `N` pixels of the edited picture.

    Raises:
        ValueError: when there are no pairs, or unequal numbers of points.
    """
    within = torch.from_numpy(float32_discs(sources, targets, size)).to(edited_features.device)
    start = torch.from_numpy(nearest_pixels(sources, size)).to(source_features.device)
    rows, columns = _blocks(source_features, size)
    wanted = F.normalize(source_features[0, :, rows[start[:, 1]], columns[start[:, 0]]], dim=0)
    likeness = torch.einsum("cn,chw->nhw", wanted, F.normalize(edited_features[0], dim=0))
    rows, columns = _blocks(edited_features, size)
    likeness = likeness[:, rows][:, :, columns].masked_fill(~within, -torch.inf)
    flat = likeness.flatten(1).max(dim=1).indices.cpu().numpy()
    return ImagePoints(np.stack([flat % size[1], flat // size[1]], axis=1))


def regiondrag_distance(
    source_features: torch.Tensor,
    edited_features: torch.Tensor,
    sources: ImagePoints,
    targets: ImagePoints,
    size: tuple[int, int],
) -> float:
    """Mean over the pairs of the length of (found − target) / (width, height); arguments as `correspond_by_nearest`."""
    found = correspond_by_nearest(source_features, edited_features, sources, targets, size)
    return float(np.linalg.norm((found.xy - targets.xy) / [size[1], size[0]], axis=1).mean())


def _blocks(features: torch.Tensor, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Feature row of each pixel row and feature column of each pixel column, as torch enlarges by the nearest."""
    rows, columns = (
        F.interpolate(torch.arange(cells, dtype=torch.float32)[None, None], size=pixels, mode="nearest")[0, 0].long()
        for cells, pixels in zip(features.shape[2:], size, strict=True)
    )
    return rows.to(features.device), columns.to(features.device)


class DragDiffusionDistance(FeatureFamily):
    """MD of DragDiffusion and m-MD of DragLoRA: means over an edit's pairs, which tables pool over all pairs."""

    metrics = (
        Metric(
            "md_dragdiffusion",
            "MD (DragDiffusion)",
            "lower",
            "px",
            "published",
            10,
            pooled=True,
            published="DragDiffusion's script: one mean over all pairs of all samples, pivots included. Ours is a mean "
            "within a sample and then over samples, without pivots. The script draws the posterior once per noise and "
            "noise in the order of files; here the posterior is drawn once and noise is the sample's own.",
        ),
        Metric(
            "m_md_draglora",
            "m-MD in mask (DragLoRA)",
            "lower",
            "px",
            "published",
            20,
            pooled=True,
            published="DragLoRA's script: as MD (DragDiffusion), looked for only where the mask is 1; no value without "
            "a mask. Ours looks in discs around source and target.",
        ),
    )

    def measure(self, edit: Edited) -> Values:
        """See `MetricFamily.measure`."""
        sample = edit.sample
        before, after = self.features(edit)
        pairs = sample.sources, sample.targets, sample.size
        values: Values = {"md_dragdiffusion": float(point_distances(before, after, *pairs).mean())}
        if "m_md_draglora" in edit.names and sample.mask is not None and sample.mask.any():
            within = np.broadcast_to(sample.mask, (len(sample.sources), *sample.size)).copy()
            values["m_md_draglora"] = float(point_distances(before, after, *pairs, within=within).mean())
        return values


class RegionDragDistance(FeatureFamily):
    """m-MD of RegionDrag."""

    metrics = (
        Metric(
            "m_md_regiondrag",
            "m-MD in discs (RegionDrag)",
            "lower",
            "",
            "published",
            30,
            digits=4,
            published="RegionDrag's script: fractions of width and height, over all pairs, pivots included; pictures "
            "at 768², features enlarged by the nearest, so that an unchanged picture does not score 0. Ours: pixels, "
            "the picture's own size, bilinear, without pivots. The script is in half precision. 100 times this is "
            "DragFlow's MD_2.",
        ),
    )
    resolution = REGIONDRAG_SIDE
    posterior_mean = True

    def measure(self, edit: Edited) -> Values:
        """See `MetricFamily.measure`."""
        sample = edit.sample
        before, after = self.features(edit)
        return {"m_md_regiondrag": regiondrag_distance(before, after, sample.sources, sample.targets, sample.size)}
