"""The axis that a handle turns about, section II-B of the RotationDrag paper (Luo et al., arXiv 2401.06442)."""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from skimage.draw import line

from rotationbench.points import GridPoints
from rotationbench.sample import DragSample, resize_mask


def rotation_axes(sample: DragSample, pivot_assignment: str = "shared") -> GridPoints:
    """The axis that each handle turns about, in cells of the supervision grid.

    Explicit pivots come from the pairs whose source and target coincide. What they do not cover is derived: see
    `derived_axis`.

    Args:
        sample: the sample, with `N` pairs that are dragged.
        pivot_assignment: `"shared"` or `"in_order"`; see `RotationDrag`.

    Returns:
        `N` points, in the order of the handles.
    """
    dragged = ~sample.is_pivot
    handles, targets = sample.sources[dragged], sample.targets[dragged]
    pivots = sample.sources[~dragged].to_grid(sample.size).rc
    count = len(handles)
    if len(pivots) == 1 and pivot_assignment == "shared":
        return GridPoints(pivots.expand(count, 2).clone())
    height, width = sample.size
    mask = resize_mask(sample.mask, (height // 2, width // 2))
    if mask is None:
        mask = np.zeros((height // 2, width // 2), dtype=bool)
    handle_cells = handles.to_grid(sample.size).rc
    # The direction is that of the points as given: rounded to cells, a short drag may have none.
    directions = torch.from_numpy((targets.xy - handles.xy)[:, ::-1].copy())
    axes = [
        pivots[index] if index < len(pivots) else derived_axis(mask, handle_cells[index], directions[index])
        for index in range(count)
    ]
    return GridPoints(torch.stack(axes))


def derived_axis(mask: np.ndarray, handle: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """The axis that a mask implies for a handle, section II-B of the paper.

    It is the farthest point from the handle on the line through it perpendicular to the drag, strictly inside the
    contour of the handle's mask component; the line is cut at the component's bounding box.

    A handle outside every bounding box belongs to the component nearest to it. When no point of the line lies inside
    the contour, the axis is the component's centre of mass. An empty or full mask implies the centre of the grid.

    Args:
        mask: bool `(rows, cols)` on the supervision grid, True where the picture may change.
        handle: `(2,)`, row and column.
        direction: `(2,)`, row and column of target − handle; any length but zero.

    Returns:
        `(2,)` float32, row and column.
    """
    rows, cols = mask.shape
    if not mask.any() or mask.all():
        return torch.tensor([rows // 2, cols // 2], dtype=torch.float32)
    contour = _component_of(mask, handle)
    left, top, width, height = cv2.boundingRect(contour)
    row, col = (int(value) for value in handle)

    across = np.array([float(direction[1]), -float(direction[0])])
    across /= np.linalg.norm(across)
    reach = rows + cols
    ends = [np.array([row, col]) + sign * reach * across for sign in (-1, 1)]
    (row_a, col_a), (row_b, col_b) = (np.round(end).astype(int) for end in ends)
    inside_box, start, end = cv2.clipLine(
        (left, top, width, height), (int(col_a), int(row_a)), (int(col_b), int(row_b))
    )
    candidates = [
        (y, x)
        for y, x in (zip(*line(*start[::-1], *end[::-1]), strict=True) if inside_box else [])
        if cv2.pointPolygonTest(contour, (float(x), float(y)), measureDist=False) > 0
    ]
    if candidates:
        axis = max(candidates, key=lambda cell: math.dist(cell, (row, col)))
        return torch.tensor(axis, dtype=torch.float32)
    moments = cv2.moments(contour)
    if moments["m00"] > 0:
        return torch.tensor([moments["m01"] / moments["m00"], moments["m10"] / moments["m00"]]).round().float()
    return torch.tensor([top + height // 2, left + width // 2], dtype=torch.float32)


def _component_of(mask: np.ndarray, handle: torch.Tensor) -> np.ndarray:
    """The outer contour of the mask component whose bounding box holds the handle, or else of the nearest one."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    row, col = (float(value) for value in handle)

    def distance(contour: np.ndarray) -> tuple[bool, float]:
        left, top, width, height = cv2.boundingRect(contour)
        outside_box = not (left <= col < left + width and top <= row < top + height)
        # pointPolygonTest is positive inside, so that a component around the handle beats one beside it.
        return outside_box, -cv2.pointPolygonTest(contour, (col, row), measureDist=True)

    return min(contours, key=distance)
