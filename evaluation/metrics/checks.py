"""Checks of what a metric is given."""

from __future__ import annotations

import numpy as np

from rotationbench.points import ImagePoints


def require_same_pictures(first: np.ndarray, second: np.ndarray) -> None:
    """Make sure that both are uint8 `(H, W, 3)` pictures of one size.

    Raises:
        ValueError: when they are not; it says what came.
    """
    for picture in (first, second):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ValueError(f"Expected pictures uint8 (H, W, 3), got {picture.dtype} {picture.shape}.")
    if first.shape != second.shape:
        raise ValueError(f"Expected two pictures of the same size, got {first.shape} and {second.shape}.")


def require_region(region: np.ndarray | None, size: tuple[int, int]) -> None:
    """Make sure that `region` is None or bool `(H, W)` for a picture of `size = (height, width)`.

    Raises:
        ValueError: when it is not; it says what came.
    """
    if region is not None and (region.shape != size or region.dtype != np.bool_):
        raise ValueError(f"Expected a region bool {size}, got {region.dtype} {region.shape}.")


def require_pairs(sources: ImagePoints, targets: ImagePoints) -> None:
    """Make sure that there is a target for every source, and at least one.

    Raises:
        ValueError: when there is not; it says what came.
    """
    if len(sources) != len(targets) or len(sources) == 0:
        raise ValueError(
            f"Expected as many targets as sources and at least one, got {len(targets)} and {len(sources)}."
        )


def nearest_pixels(points: ImagePoints, size: tuple[int, int]) -> np.ndarray:
    """Int `(N, 2)`, `(x, y)`: the pixel nearest to each point, halves to even, inside `size = (height, width)`."""
    height, width = size
    return np.clip(np.rint(points.xy), 0, [width - 1, height - 1]).astype(np.int64)
