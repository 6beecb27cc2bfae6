"""Masks, and pairs of cells in a form that is easily compared."""

from __future__ import annotations

import numpy as np


def box(size, left, top, right, bottom) -> np.ndarray:
    mask = np.zeros(size, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def as_dict(pairs) -> dict[tuple[int, int], tuple[int, int]]:
    """From target to source, `(x, y)`."""
    sources, targets = (points.tolist() for points in pairs)
    return {tuple(target): tuple(source) for source, target in zip(sources, targets, strict=True)}
