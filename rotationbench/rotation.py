"""Turns of points, masks and pictures, in one convention.

Angles are in degrees and positive from +x to +y, which is clockwise on the screen, because y points down. Points and
pivots are `(x, y)`. Sines, cosines and arcs are those of the C library, which round alike on every CPU, where NumPy's
vector instructions do not: a point that a turn brings exactly between two cells has to fall into the same one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

Point = Sequence[float] | np.ndarray


def wrap_degrees(angle: float) -> float:
    """The same direction within ±180. Half a turn keeps its sign.

    >>> wrap_degrees(270.0), wrap_degrees(-180.0), wrap_degrees(180.0)
    (-90.0, -180.0, 180.0)
    """
    return angle - 360.0 * round(angle / 360.0)


def turn_between(before: Point, after: Point) -> float:
    """Degrees within ±180 by which the direction `before`, `(x, y)`, has to turn to be that of `after`.

    >>> turn_between((1, 0), (0, 5))
    90.0
    """
    return wrap_degrees(math.degrees(math.atan2(after[1], after[0]) - math.atan2(before[1], before[0])))


def rotation_matrix(angle: float) -> np.ndarray:
    """Float64 `(2, 2)`: what a column `(x, y)` is multiplied with to be turned by `angle` degrees about the origin.

    >>> rotation_matrix(90.0).round() @ [1, 0]
    array([0., 1.])
    """
    return turn_matrix((0.0, 0.0), angle)[:, :2]


def turn_matrix(pivot: Point, angle: float) -> np.ndarray:
    """Float64 `(2, 3)`: the affine map, as OpenCV takes it, that turns by `angle` degrees about `pivot`.

    >>> turn_matrix((2, 1), 180.0).round()
    array([[-1., -0.,  4.],
           [ 0., -1.,  2.]])
    """
    # OpenCV counts angles counter-clockwise.
    return cv2.getRotationMatrix2D((float(pivot[0]), float(pivot[1])), -float(angle), 1.0)


def turn_points(points: np.ndarray, pivot: Point, angle: float) -> np.ndarray:
    """`points (N, 2)` turned by `angle` degrees about `pivot`; float64 `(N, 2)`.

    >>> turn_points(np.array([[3.0, 1.0]]), (1, 1), 90.0)
    array([[1., 3.]])
    """
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    x, y = (np.asarray(points, np.float64) - pivot).T
    # Not by a matrix product, which fuses multiplication and addition on some CPUs.
    return np.stack([cosine * x - sine * y, sine * x + cosine * y], axis=1) + pivot


def turn_mask(mask: np.ndarray, pivot: Point, angle: float) -> np.ndarray:
    """Bool `(H, W)`: `mask` turned by `angle` degrees about `pivot`, by nearest pixel; outside there is nothing."""
    turned = cv2.warpAffine(mask.astype(np.uint8), turn_matrix(pivot, angle), mask.shape[::-1], flags=cv2.INTER_NEAREST)
    return turned.astype(bool)


def turn_picture(image: np.ndarray, pivot: Point, angle: float, *, interpolation: int = cv2.INTER_CUBIC) -> np.ndarray:
    """A picture `(H, W)` or `(H, W, C)` turned by `angle` degrees about `pivot` on its own canvas.

    What comes into view is the mirrored picture, which has no edges that could be taken for content.

    Args:
        image: of a type that OpenCV warps, such as uint8 or float32.
        pivot: `(x, y)` in pixels.
        angle: in degrees.
        interpolation: one of OpenCV's `INTER_` constants.
    """
    return cv2.warpAffine(
        image,
        turn_matrix(pivot, angle),
        image.shape[1::-1],
        flags=interpolation,
        borderMode=cv2.BORDER_REFLECT_101,
    )
