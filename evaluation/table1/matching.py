"""Mutual nearest neighbours between the descriptors of two pictures."""

from __future__ import annotations

import torch
import torch.nn.functional as F

METRICS = ("l2", "cosine")

BLOCK_VALUES = 2**24
"""Similarities held at once: 64 MiB in float32."""


@torch.no_grad()
def mutual_nearest(
    first: torch.Tensor, second: torch.Tensor, *, metric: str = "l2", visible: torch.Tensor | None = None
) -> torch.Tensor:
    """Pairs of descriptors that are each other's nearest neighbour.

    Args:
        first: `(V, N, D)`: descriptors of N keypoints, each in V views; a keypoint is as near as its nearest view.
        second: `(M, D)`, on the same device.
        metric: `"l2"` or `"cosine"`.
        visible: bool `(V, N)`: which keypoints have a descriptor in which view; None means all.

    Returns:
        int64 `(K, 2)`: indices into the N and the M keypoints, in ascending order of the first.

    Raises:
        ValueError: for an unknown metric or shapes that do not fit together.
    """
    if metric not in METRICS:
        raise ValueError(f"Expected a metric out of {', '.join(METRICS)}, got {metric!r}.")
    if first.ndim != 3 or second.ndim != 2 or first.shape[2] != second.shape[1]:
        raise ValueError(f"Expected (V, N, D) and (M, D), got {tuple(first.shape)} and {tuple(second.shape)}.")
    views, count, _ = first.shape
    if count == 0 or len(second) == 0:
        return torch.zeros((0, 2), dtype=torch.long, device=first.device)
    if metric == "cosine":
        first, second = F.normalize(first, dim=-1), F.normalize(second, dim=-1)
    # −|a − b|² = 2ab − |a|² − |b|²; for unit vectors the order is that of the cosine.
    first_norms, second_norms = first.square().sum(dim=-1), second.square().sum(dim=-1)
    forward = torch.empty(count, dtype=torch.long, device=first.device)
    backward = torch.zeros(len(second), dtype=torch.long, device=first.device)
    nearest = first.new_full((len(second),), -torch.inf)
    rows = max(1, BLOCK_VALUES // (views * len(second)))
    for start in range(0, count, rows):
        block = slice(start, min(start + rows, count))
        similarity = 2 * first[:, block] @ second.T - first_norms[:, block, None] - second_norms
        if visible is not None:
            similarity = similarity.masked_fill(~visible[:, block, None], -torch.inf)
        similarity = similarity.amax(dim=0)
        forward[block] = similarity.argmax(dim=1)
        value, index = similarity.max(dim=0)
        nearer = value > nearest
        nearest = torch.where(nearer, value, nearest)
        backward = torch.where(nearer, index + start, backward)
    indices = torch.arange(count, device=first.device)
    mutual = backward[forward] == indices
    if visible is not None:
        mutual &= visible.any(dim=0)
    return torch.stack([indices[mutual], forward[mutual]], dim=1)
