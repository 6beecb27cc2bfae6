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
    views, count, depth = first.shape
    if count == 0 or len(second) == 0:
        return torch.zeros((0, 2), dtype=torch.long, device=first.device)
    if metric == "cosine":
        # For unit vectors, the order of distances is that of cosines.
        first, second = F.normalize(first, dim=-1), F.normalize(second, dim=-1)
    hidden = torch.zeros(views, count, dtype=torch.bool, device=first.device) if visible is None else ~visible
    all_views = first.reshape(-1, depth)
    distance, nearest = _nearest(all_views, second, hidden.new_zeros(len(second)))
    _, nearest_view = _nearest(second, all_views, hidden.reshape(-1))
    view = distance.reshape(views, count).masked_fill(hidden, torch.inf).argmin(dim=0, keepdim=True)
    forward = nearest.reshape(views, count).gather(0, view)[0]
    indices = torch.arange(count, device=first.device)
    mutual = (nearest_view[forward] % count == indices) & ~hidden.all(dim=0)
    return torch.stack([indices[mutual], forward[mutual]], dim=1)


def _nearest(
    queries: torch.Tensor, candidates: torch.Tensor, hidden: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Squared distance to and index of the nearest of `candidates` `(C, D)` not `hidden` `(C,)`, for each query."""
    norms = candidates.square().sum(dim=1).masked_fill(hidden, torch.inf)
    values, indices = [], []
    for block in queries.split(max(1, BLOCK_VALUES // len(candidates))):
        # |q − c|² = |q|² − (2qc − |c|²), whose first part decides nothing.
        value, index = torch.addmm(norms, block, candidates.T, beta=-1, alpha=2).max(dim=1)
        values.append(value)
        indices.append(index)
    return queries.square().sum(dim=1) - torch.cat(values), torch.cat(indices)
