"""Tracking and motion supervision against the features that the handles had before the drag.

DragDiffusion compares the patch ahead with the patch where the handle is; here it is compared with the patch where the
handle started, so that errors do not add up. Rows and columns are cells of the supervision grid.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from methods.latent_drag import read_bilinear


def track_closer(
    features: torch.Tensor,
    initial_features: torch.Tensor,
    start: torch.Tensor,
    handle: torch.Tensor,
    target: torch.Tensor,
    r_t: int,
) -> tuple[torch.Tensor, float]:
    """The cell around a handle, no farther from its target, whose feature is nearest to the one where it started.

    Args:
        features: `(1, C, rows, cols)`.
        initial_features: `(1, C, rows, cols)`, before the drag.
        start: `(2,)`, where the handle started.
        handle: `(2,)`, the centre of the search.
        target: `(2,)`.
        r_t: radius of the search; it is cut at the border of the grid.

    Returns:
        `(2,)`, row and column, the first in reading order of equally near ones; and the mean absolute difference of its
        feature, rounded to two digits.
    """
    rows, cols = features.shape[2:]
    row, col = int(handle[0]), int(handle[1])
    reference = initial_features[0, :, int(start[0]), int(start[1])]
    window_rows = torch.arange(max(0, row - r_t), min(rows, row + r_t + 1), device=features.device)
    window_cols = torch.arange(max(0, col - r_t), min(cols, col + r_t + 1), device=features.device)
    cells = torch.cartesian_prod(window_rows, window_cols)
    # Whole cells have whole squared distances, which compare exactly.
    squares = (cells - target).square().sum(dim=1)
    cells = cells[squares <= (handle - target).square().sum()]
    differences = (reference[:, None] - features[0, :, cells[:, 0], cells[:, 1]]).abs().mean(dim=0)
    best = differences.argmin()
    return cells[best].to(handle), round(float(differences[best]), 2)


def patch_difference(
    features: torch.Tensor,
    initial_features: torch.Tensor,
    start: torch.Tensor,
    handle: torch.Tensor,
    way: torch.Tensor,
    r_m: int,
) -> torch.Tensor:
    """How much the patch ahead of a handle differs from the one where it started: what motion supervision minimises.

    Args:
        features: `(1, C, rows, cols)`.
        initial_features: `(1, C, rows, cols)`, before the drag.
        start: `(2,)`, where the handle started.
        handle: `(2,)`, where it is.
        way: `(2,)`, how far ahead, in cells with fractions; beyond the border the border's features count.
        r_m: radius of the patches; both are cut where one of them reaches the border of the grid.

    Returns:
        The mean absolute difference of the two patches; only the one ahead carries gradients.
    """
    offsets = torch.arange(-r_m, r_m + 1, device=features.device)
    before: list[torch.Tensor] = []
    ahead: list[torch.Tensor] = []
    for axis, extent in enumerate(features.shape[2:]):
        at_start, at_handle = (int(point[axis]) + offsets for point in (start, handle))
        inside = (at_start >= 0) & (at_start < extent) & (at_handle >= 0) & (at_handle < extent)
        before.append(at_start[inside])
        ahead.append(at_handle[inside] + way[axis])
    wanted = initial_features[:, :, before[0][:, None], before[1]]
    return F.l1_loss(read_bilinear(features, ahead[0], ahead[1]), wanted)
