"""The dense mappings of RegionDrag's published interface (Lu et al., arXiv 2407.18247): polygons, regions, point pairs.

They are made on a grid of square cells: those of the latent, or the pixels. Points and cells are `(x, y)` here.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch

Pairs = tuple[np.ndarray, np.ndarray]
"""Sources and targets, `(M, 2)` each, `(x, y)`, whole numbers."""

NEIGHBOURS = 4
MOST_REFERENCES = 100
"""Of more points that are to be blended, as many are taken, evenly spread over their order."""


def polygon(source: np.ndarray, target: np.ndarray, cell: int, size: tuple[int, int]) -> Pairs:
    """The cells of a target polygon, and where they come from in the source polygon; in float32, cut towards zero.

    Three corners map affinely, four in perspective.

    Args:
        source: corners `(3, 2)` or `(4, 2)` in pixels.
        target: as many.
        cell: in pixels.
        size: `(rows, columns)` of the grid.
    """
    source, target = (corners.astype(np.float32) / np.float32(cell) for corners in (source, target))
    targets = cells_of(filled(target, size))
    if len(targets) == 0:
        return targets, targets
    affine = len(target) == 3
    matrix = (cv2.getAffineTransform if affine else cv2.getPerspectiveTransform)(target, source)
    sources = (cv2.transform if affine else cv2.perspectiveTransform)(targets.astype(np.float32)[None], matrix)[0]
    return _whole(sources, targets)


def region_pair(source: np.ndarray, target: np.ndarray) -> Pairs:
    """The cells of a target region, and where they come from in the source region, both bool `(rows, columns)`.

    Columns are scaled from the extent of the target to that of the source; within each column, rows are scaled from the
    target's extent in its column to the source's extent in the column that it comes from. In float32, cut towards zero.
    Where the source has no cells in a column, nothing comes from there.
    """
    targets = cells_of(target)
    if len(targets) == 0 or not source.any():
        return targets[:0], targets[:0]
    x, y = targets.T.astype(np.float32)
    source_x = cells_of(source)[:, 0].astype(np.float32)
    from_x = (x - x.min()) * (np.ptp(source_x) / max(np.ptp(x), np.float32(1e-4))) + source_x.min()
    columns = from_x.astype(int)
    (low, high), (source_low, source_high) = (_extents(region) for region in (target, source))
    low, high = low[targets[:, 0]], high[targets[:, 0]]
    scale = (source_high - source_low)[columns] / np.maximum(high - low, np.float32(1e-4))
    return _whole(np.stack([from_x, (y - low) * scale + source_low[columns]], axis=1), targets)


def _extents(region: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first and the last row of each column's cells, float32 `(columns,)`; NaN for columns without cells."""
    rows = np.arange(len(region), dtype=np.float32)[:, None]
    nothing = np.where(region.any(axis=0), np.float32(0), np.float32(np.nan))
    low = np.where(region, rows, np.float32(len(region))).min(axis=0)
    high = np.where(region, rows, np.float32(-1)).max(axis=0)
    return low + nothing, high + nothing


def point_pairs(region: np.ndarray, handles: np.ndarray, targets: np.ndarray) -> Pairs:
    """Each part of a region that holds handles, moved by them.

    The part's outline and cells go as far as the handles nearest to them; the cells that the moved outline encloses are
    the targets, and come from as far back as the moved cells nearest to them came.

    Args:
        region: bool `(rows, columns)`.
        handles: `(N, 2)` whole cells.
        targets: `(N, 2)` whole cells.
    """
    found: list[Pairs] = []
    contours, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    for contour in contours:
        outline = contour[:, 0]
        cells = cells_of(filled(outline, region.shape))
        held = (handles[:, None] == cells).all(axis=2).any(axis=1)
        if not held.any():
            continue
        starts, ways = handles[held], (targets - handles)[held]
        ends = blended(cells, starts, ways)
        part = cells_of(filled(blended(outline, starts, ways), region.shape))
        found.append((blended(part, ends, cells - ends), part))
    return joined(found)


def blended(points: np.ndarray, references: np.ndarray, ways: np.ndarray) -> np.ndarray:
    """Points `(P, 2)` moved by the ways of the four references nearest to each, weighted by inverse distance.

    In float16, as in the published program; a single reference moves every point alike.

    Args:
        points: `(P, 2)` whole cells.
        references: `(N, 2)` whole cells.
        ways: `(N, 2)` whole cells.

    Returns:
        `(P, 2)` whole cells.
    """
    place, start, way = (torch.from_numpy(np.ascontiguousarray(array)).half() for array in (points, references, ways))
    if len(start) < 2:
        return (place + way).int().numpy()
    if len(start) > MOST_REFERENCES:
        chosen = torch.linspace(0, len(start) - 1, steps=MOST_REFERENCES).long()
        start, way = start[chosen], way[chosen]
    distances = (place[:, None] - start[None]).norm(dim=-1)
    nearest = distances.sort(dim=1, stable=True).indices[:, :NEIGHBOURS]
    weights = 1 / (distances.gather(1, nearest) + 1e-4)
    weights = weights / weights.sum(dim=1, keepdim=True)
    return (place + (weights[..., None] * way[nearest]).sum(dim=1)).round().int().numpy()


def filled(corners: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Bool `(rows, columns)`: what corners `(K, 2)`, cut to whole cells, enclose, themselves included."""
    mask = np.zeros(tuple(size), dtype=np.uint8)
    cv2.fillPoly(mask, [corners.astype(np.int32)], 1)
    return mask.astype(bool)


def cells_of(mask: np.ndarray) -> np.ndarray:
    """The cells `(M, 2)` of a mask `(rows, columns)` in reading order."""
    return np.argwhere(mask)[:, ::-1]


def joined(pairs: Sequence[Pairs]) -> Pairs:
    """One mapping after another."""
    nothing = np.zeros((0, 2), dtype=int)
    sources, targets = (np.concatenate([nothing, *(part[side] for part in pairs)]) for side in (0, 1))
    return sources, targets


def _whole(sources: np.ndarray, targets: np.ndarray) -> Pairs:
    """Sources cut towards zero; pairs whose source is no number are left out."""
    known = np.isfinite(sources).all(axis=1)
    # What lies far outside of any grid need not fit into an integer.
    return sources[known].clip(-(2**30), 2**30).astype(int), targets[known]
