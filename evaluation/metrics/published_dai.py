"""Dragging accuracy index as released scripts compute it: over all pairs, and divided by their number twice.

Sources: github:zewei-Zhang/GoodDrag, evaluation/compute_DAI.py, which DirectDrag copies; GeoDrag's variant of it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from evaluation.metrics.base import Edited, Metric, MetricFamily, Values
from evaluation.metrics.checks import nearest_pixels, require_pairs, require_same_pictures
from rotationbench.points import ImagePoints

GOODDRAG_RADII = (1, 5, 10, 20)
GEODRAG_RADII = (1, 10, 20)


def gooddrag_index(
    source: np.ndarray, edited: np.ndarray, sources: ImagePoints, targets: ImagePoints, radius: int
) -> float | None:
    """DAI as GoodDrag's script has it, with what its slices do at borders.

    A patch that leaves the picture at the left or top is empty there, and one that leaves it at the right or bottom is
    cut. Two empty patches are taken to be equal.

    Args:
        source: uint8 `(H, W, 3)`, the picture before the edit.
        edited: uint8 `(H, W, 3)`, the picture after it.
        sources: `N` points in image pixels.
        targets: `N` points in image pixels.
        radius: γ in pixels, at least 0.

    Returns:
        0 at best; None where the script ends with an error, because two patches have different shapes.

    Raises:
        ValueError: when the pictures, the points or the radius do not fit.
    """

    def patch(picture: np.ndarray, x: int, y: int) -> np.ndarray:
        return picture[y - radius : y + radius + 1, x - radius : x + radius + 1]

    return _divided_twice(source, edited, sources, targets, radius, patch)


def geodrag_index(
    source: np.ndarray, edited: np.ndarray, sources: ImagePoints, targets: ImagePoints, radius: int
) -> float | None:
    """DAI as GeoDrag has it; arguments and errors as `gooddrag_index`.

    A patch is cut to the picture and then filled up with black at the right and bottom, which shifts one that was cut
    at the left or top.
    """
    side = 2 * radius + 1

    def patch(picture: np.ndarray, x: int, y: int) -> np.ndarray:
        cut = picture[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
        return np.pad(cut, ((0, side - cut.shape[0]), (0, side - cut.shape[1]), (0, 0)))

    return _divided_twice(source, edited, sources, targets, radius, patch)


def _divided_twice(
    source: np.ndarray,
    edited: np.ndarray,
    sources: ImagePoints,
    targets: ImagePoints,
    radius: int,
    patch: Callable[[np.ndarray, int, int], np.ndarray],
) -> float | None:
    require_same_pictures(source, edited)
    require_pairs(sources, targets)
    if radius < 0:
        raise ValueError(f"Expected a radius of at least 0, got {radius}.")
    first, second = source / 255, edited / 255
    size = source.shape[:2]
    total = 0.0
    for start, end in zip(nearest_pixels(sources, size), nearest_pixels(targets, size), strict=True):
        before, after = patch(first, *start), patch(second, *end)
        if before.shape != after.shape:
            return None
        total += float(((before - after) ** 2).sum()) / (2 * radius + 1) ** 2
    return total / len(sources) / len(sources)


class PublishedDraggingAccuracy(MetricFamily):
    """DAI of GoodDrag's and of GeoDrag's scripts, over all pairs, pivots included."""

    metrics = (
        *(
            Metric(
                f"dai_gooddrag_{radius}",
                f"DAI γ={radius} (GoodDrag)",
                "lower",
                "",
                "published",
                40 + index,
                digits=3,
                published="GoodDrag's script: over all pairs, pivots included, divided by their number twice, where "
                "the formula and ours divide once; no value where patches at a border make it fail.",
            )
            for index, radius in enumerate(GOODDRAG_RADII)
        ),
        *(
            Metric(
                f"dai_geodrag_{radius}",
                f"DAI γ={radius} (GeoDrag)",
                "lower",
                "",
                "published",
                50 + index,
                digits=3,
                published="GeoDrag's script: as GoodDrag's, with patches cut at a border filled up with black.",
            )
            for index, radius in enumerate(GEODRAG_RADII)
        ),
    )

    def measure(self, edit: Edited) -> Values:
        """See `MetricFamily.measure`."""
        arguments = edit.sample.image, edit.picture, edit.sample.sources, edit.sample.targets
        values: Values = {f"dai_gooddrag_{radius}": gooddrag_index(*arguments, radius) for radius in GOODDRAG_RADII}
        return values | {f"dai_geodrag_{radius}": geodrag_index(*arguments, radius) for radius in GEODRAG_RADII}
