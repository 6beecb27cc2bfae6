"""Mutual nearest neighbours between the descriptors of two pictures."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from kornia.feature import match_mnn

METRICS = ("l2", "cosine")


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
        # For unit vectors, the order of distances is that of cosines.
        first, second = F.normalize(first, dim=-1), F.normalize(second, dim=-1)
    distances = first.new_full((count, len(second)), torch.inf)
    for index in range(views):
        of_view = torch.cdist(first[index], second)
        if visible is not None:
            of_view = of_view.masked_fill(~visible[index, :, None], torch.inf)
        distances = torch.minimum(distances, of_view)
    apart, pairs = match_mnn(first[0], second, distances)
    return pairs[apart[:, 0].isfinite()]
