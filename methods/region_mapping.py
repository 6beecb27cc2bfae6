"""Which cell goes where: the dense mappings that RegionDrag (Lu et al., arXiv 2407.18247) makes of sparse input.

The published interface derives them from pairs of polygons, pairs of regions, or a region and pairs of points; for a
rotation, the object's mask is turned. A mapping is made on a grid of square cells: those of the latent, or the pixels.

Points and cells are `(x, y)` here. A mapping lists `M` source cells and as many target cells, `(M, 2)` whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from methods.released_mappings import Pairs, filled, joined, point_pairs, polygon, region_pair
from methods.turn import object_of
from rotationbench.errors import ConfigError
from rotationbench.points import ImagePoints
from rotationbench.rotation import rotation_matrix, turn_between, wrap_degrees
from rotationbench.sample import DragSample, Region, Regions
from rotationbench.settings import check_choice

KINDS = ("auto", "rotation", "polygon", "region_pair", "point_pairs")


@dataclass(frozen=True)
class Mapping:
    """How the dense mapping is made. Points are pixels `(x, y)` of the picture at the size that it is edited at.

    - `"rotation"`: the object turns about the pivot by the mean angle of the handles; without a pivot it moves by their
      mean way. The object is the sample's object mask, or else what may change, or else everything.
    - `"polygon"`: a triangle or quadrilateral becomes another, affinely or in perspective. The corners are `source` and
      `target`, or else the sample's pairs.
    - `"region_pair"`: a region becomes another: its columns, then each column's rows, are scaled between their extents.
      The regions are polygons with the corners `source` and `target`, or else the sample's own masks of sources and
      targets.
    - `"point_pairs"`: each part of what may change that holds handles follows them: every cell by the ways of the four
      nearest ones, weighted by inverse distance.
    - `"auto"`: the regions that the sample brings along, or else `"rotation"`.

    Args:
        kind: one of these.
        pivot: for `"rotation"`; None is the sample's: its pivot pair, the mean of several, or else its metadata's.
        angle: for `"rotation"`, in degrees, positive clockwise on the screen; None is what the handles ask for.
        source: corners.
        target: corners.

    Raises:
        ConfigError: when a value lies outside its range.
    """

    kind: str = "auto"
    pivot: list[float] | None = None
    angle: float | None = None
    source: list[Any] | None = None
    target: list[Any] | None = None

    def __post_init__(self) -> None:
        check_choice(self, KINDS, "kind", section="method.mapping")
        if self.pivot is not None and len(self.pivot) != 2:
            raise ConfigError(f"method.mapping.pivot: expected x and y, got {self.pivot}.")
        if (self.source is None) != (self.target is None):
            raise ConfigError("method.mapping.source: expected corners together with those of target, got one of them.")
        for name in ("source", "target"):
            corners = getattr(self, name)
            if corners is not None and (len(corners) < 3 or not all(map(_is_point, corners))):
                raise ConfigError(f"method.mapping.{name}: expected three or more pairs of x and y, got {corners}.")


def _is_point(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(number) in (int, float) for number in value)


def dense_mapping(sample: DragSample, settings: Mapping, cell: int) -> Pairs:
    """The mapping of a sample on the grid of cells of `cell` × `cell` pixels.

    Args:
        sample: its sides are multiples of `cell`.
        settings: see `Mapping`.
        cell: 1 maps pixels.

    Returns:
        Sources and targets `(M, 2)`, all on the grid; a target that is listed twice belongs to its last source.

    Raises:
        ConfigError: when the sample lacks what the kind of mapping is made from.
    """
    size = sample.size[0] // cell, sample.size[1] // cell
    match settings.kind:
        case "polygon":
            pairs = polygon(*_corners(sample, settings), cell, size)
        case "region_pair":
            source, target = _region_masks(sample, settings)
            pairs = region_pair(_resized(source, size), _resized(target, size))
        case "point_pairs":
            handles, targets = _cells(sample.sources, cell), _cells(sample.targets, cell)
            pairs = point_pairs(_resized(may_change(sample), size), handles, targets)
        case _:
            own = None if settings.kind == "rotation" else own_regions(sample, cell)
            pairs = turned_object(sample, settings, cell) if own is None else own
    return on_grid(pairs, size)


def on_grid(pairs: Pairs, size: tuple[int, int]) -> Pairs:
    """Those of the pairs whose source and target both lie on a grid of `size = (rows, columns)`."""
    extent = np.array(size[::-1])
    inside = np.all([((points >= 0) & (points < extent)).all(axis=1) for points in pairs], axis=0)
    return pairs[0][inside].astype(np.int32), pairs[1][inside].astype(np.int32)


def carried(points: np.ndarray, pairs: Pairs, cell: int) -> np.ndarray:
    """Where a mapping takes points `(N, 2)` of the picture: as far as it takes the source cell nearest to each.

    Of equally near ones the first counts. An empty mapping takes nothing anywhere.
    """
    sources, targets = pairs
    if len(sources) == 0:
        return points.copy()
    centres = (sources + 0.5) * cell - 0.5
    nearest = np.linalg.norm(points[:, None] - centres[None], axis=2).argmin(axis=1)
    return points + (targets - sources)[nearest] * cell


# --- rotation -------------------------------------------------------------------------------------------------------


def turned_object(sample: DragSample, settings: Mapping, cell: int) -> Pairs:
    """The object turned about its pivot, or moved where there is no pivot; see `Mapping`.

    Raises:
        ConfigError: when an angle is set and there is no pivot.
    """
    pivot = _pivot(sample, settings)
    dragged = ~sample.is_pivot
    handles, targets = sample.sources.xy[dragged], sample.targets.xy[dragged]
    mask = object_of(sample)[::cell, ::cell]
    if pivot is None:
        if settings.angle is not None:
            raise ConfigError(
                f"method.mapping.angle: expected a pivot to turn {sample.name} about, got none: "
                "set method.mapping.pivot or give the sample a pair whose source and target coincide."
            )
        shift = (targets - handles).mean(axis=0) if len(handles) else np.zeros(2)
        return moved(mask, np.eye(2), -shift / cell)
    angle = mean_angle(handles, targets, pivot) if settings.angle is None else settings.angle
    return turned(mask, pivot / cell, angle)


def turned(mask: np.ndarray, pivot: np.ndarray, angle: float) -> Pairs:
    """A mask turned about a pivot: each target cell q comes from ⌊c + R(−θ)·(q − c) + ½⌋, where that is in the mask.

    Args:
        mask: bool `(rows, columns)`.
        pivot: c, `(2,)`, `(x, y)` in cells, with fractions.
        angle: θ in degrees, positive clockwise on the screen.
    """
    back = rotation_matrix(-angle)
    return moved(mask, back, pivot - back @ pivot)


def moved(mask: np.ndarray, back: np.ndarray, offset: np.ndarray) -> Pairs:
    """The cells q, in reading order, whose source ⌊`back`·q + `offset` + ½⌋ is in the mask, bool `(rows, columns)`."""
    rows, cols = mask.shape
    y, x = (axis.ravel() for axis in np.mgrid[:rows, :cols])
    targets = np.stack([x, y], axis=1)
    sources = np.floor(targets @ back.T + offset + 0.5).astype(int)
    sources, targets = on_grid((sources, targets), mask.shape)
    held = mask[sources[:, 1], sources[:, 0]]
    return sources[held], targets[held]


def mean_angle(handles: np.ndarray, targets: np.ndarray, pivot: np.ndarray) -> float:
    """The mean angle in degrees by which handles `(N, 2)` turn about `pivot` `(2,)` to reach their targets.

    Each is within ±180, positive clockwise on the screen; those on the other side of ±180 than the first are continued
    beyond it, so that +179° and −179° have the mean 180°. A handle that starts or ends on the pivot does not count.

    >>> mean_angle(np.array([[2, 0], [0, 1]]), np.array([[0, 2], [-1, 0]]), np.zeros(2))
    90.0
    """
    spokes, goals = handles - pivot, targets - pivot
    counted = spokes.any(axis=1) & goals.any(axis=1)
    if not counted.any():
        return 0.0
    angles = [turn_between(spoke, goal) for spoke, goal in zip(spokes[counted], goals[counted], strict=True)]
    return float(np.mean([angles[0] + wrap_degrees(angle - angles[0]) for angle in angles]))


def _pivot(sample: DragSample, settings: Mapping) -> np.ndarray | None:
    if settings.pivot is not None:
        return np.array(settings.pivot)
    pivots = sample.sources.xy[sample.is_pivot]
    if len(pivots):
        return pivots.mean(axis=0)
    return None if sample.meta.pivot is None else np.array(sample.meta.pivot)


def may_change(sample: DragSample) -> np.ndarray:
    """Bool `(H, W)`: what may change; everything when there is no mask or an empty one."""
    mask = sample.mask
    return mask if mask is not None and mask.any() else np.ones(sample.size, dtype=bool)


# --- regions that samples bring along -------------------------------------------------------------------------------


def own_regions(sample: DragSample, cell: int) -> Pairs | None:
    """The mapping that a sample's own regions describe; None when there are none or nothing says where they go.

    Pairs with a size move rectangles. Otherwise each part turns about its anchor or moves with its handle, or follows
    its pairs of points; masks of sources and targets without pairs and parts are a pair of regions.
    """
    regions = sample.regions
    if regions is None:
        return None
    size = sample.size[0] // cell, sample.size[1] // cell
    if regions.pairs is not None and regions.cell is not None:
        return rectangles(regions.pairs[0].xy, regions.pairs[1].xy, regions.cell, cell)
    parts = [part for part in (_part(regions, part, cell, size) for part in regions.parts) if part is not None]
    if parts:
        return joined(parts)
    if regions.sources is not None and regions.targets is not None:
        return region_pair(_resized(regions.sources, size), _resized(regions.targets, size))
    return None


def _part(regions: Regions, part: Region, cell: int, size: tuple[int, int]) -> Pairs | None:
    mask = part.mask[::cell, ::cell]
    if part.anchor is not None and part.angle is not None:
        return turned(mask, np.array(part.anchor) / cell, part.angle)
    if part.source is not None and part.target is not None:
        return moved(mask, np.eye(2), (np.array(part.source) - np.array(part.target)) / cell)
    if part.pairs and regions.pairs is not None:
        handles, targets = (_cells(points[np.array(part.pairs)], cell) for points in regions.pairs)
        return point_pairs(_resized(part.mask, size), handles, targets)
    return None


def rectangles(sources: np.ndarray, targets: np.ndarray, extent: tuple[float, float], cell: int) -> Pairs:
    """Cells whose centres lie in the rectangles at `targets`, and how far away those at `sources` are.

    Args:
        sources: `(N, 2)`, top left corners in pixels.
        targets: `(N, 2)`.
        extent: `(width, height)` of each rectangle in pixels.
        cell: in pixels.
    """
    found: list[Pairs] = []
    for source, target in zip(sources, targets, strict=True):
        first = np.ceil(target / cell - 0.5).astype(int)
        end = np.ceil((target + extent) / cell - 0.5).astype(int)
        y, x = np.mgrid[first[1] : end[1], first[0] : end[0]]
        cells = np.stack([x.ravel(), y.ravel()], axis=1)
        found.append((np.floor(cells + 0.5 + (source - target) / cell).astype(int), cells))
    return joined(found)


# --- grids and cells ------------------------------------------------------------------------------------------------


def _corners(sample: DragSample, settings: Mapping) -> tuple[np.ndarray, np.ndarray]:
    if settings.source is not None and settings.target is not None:
        name, source, target = "method.mapping.source", np.array(settings.source), np.array(settings.target)
    else:
        name, source, target = f"the pairs of {sample.name}", sample.sources.xy, sample.targets.xy
    if len(source) not in (3, 4) or len(source) != len(target):
        raise ConfigError(
            f"{name}: expected three or four corners for method.mapping.kind=polygon, "
            f"got {len(source)} and {len(target)}."
        )
    return source, target


def _region_masks(sample: DragSample, settings: Mapping) -> tuple[np.ndarray, np.ndarray]:
    if settings.source is not None and settings.target is not None:
        return filled(np.array(settings.source), sample.size), filled(np.array(settings.target), sample.size)
    regions = sample.regions
    if regions is None or regions.sources is None or regions.targets is None:
        raise ConfigError(
            "method.mapping.kind: expected corners in method.mapping.source and target for region_pair, or a sample "
            f"with masks of its own for both, got {sample.name} without them."
        )
    return regions.sources, regions.targets


def _cells(points: ImagePoints, cell: int) -> np.ndarray:
    return np.floor_divide(points.xy, cell).astype(int)


def _resized(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bool `(rows, columns)`: the cells whose middle the mask covers, as the published interface resizes it."""
    return cv2.resize(mask.astype(np.uint8), size[::-1]) > 0
