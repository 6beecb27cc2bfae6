"""Homographies from matches, and how far off they are."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from evaluation.table1.warps import transform
from rotationbench.errors import ConfigError
from rotationbench.settings import check_between, check_choice, check_positive

METHODS = {"ransac": cv2.RANSAC, "lmeds": cv2.LMEDS}

MOST_ITERATIONS = 1_000_000

SMALLEST_SPREAD = 1e-3
"""Ratio of the smallest to the largest singular value that equations need to count as independent."""


@dataclass
class Estimator:
    """How a homography is estimated (OpenCV's `findHomography`).

    Args:
        method: `"ransac"`, or `"lmeds"`, which has no threshold but needs more inliers than outliers.
        threshold: largest reprojection error of an inlier of RANSAC, in pixels.
        iterations: samples drawn at most.
        confidence: probability to reach before the sampling ends.

    Raises:
        ConfigError: when a value lies outside its range.
    """

    method: str = "ransac"
    threshold: float = 3.0
    iterations: int = 2000
    confidence: float = 0.995

    def __post_init__(self) -> None:
        check_choice(self, METHODS, "method", section="estimator")
        check_positive(self, "threshold", section="estimator")
        check_between(self, 1, MOST_ITERATIONS, "iterations", section="estimator")
        check_between(self, 0, 1, "confidence", section="estimator")
        if self.confidence in (0, 1):
            raise ConfigError(f"estimator.confidence: expected more than 0 and less than 1, got {self.confidence}.")


@dataclass(frozen=True, eq=False)
class Estimate:
    """A homography float64 `(3, 3)`, or None when the matches determine none; `inliers` bool `(K,)` of the matches."""

    homography: np.ndarray | None
    inliers: np.ndarray


def estimate_homography(source: np.ndarray, target: np.ndarray, estimator: Estimator) -> Estimate:
    """The homography that maps `source` to `target`, points `(K, 2)` in pixels, robustly against wrong matches.

    Fewer than four matches, matches whose inliers coincide or lie on a line but for one, and a homography that
    is singular or mirrors the picture, are "no homography".
    """
    none = Estimate(None, np.zeros(len(source), dtype=bool))
    if len(source) < 4:
        return none
    homography, mask = cv2.findHomography(
        np.ascontiguousarray(source, dtype=np.float64),
        np.ascontiguousarray(target, dtype=np.float64),
        METHODS[estimator.method],
        estimator.threshold,
        maxIters=estimator.iterations,
        confidence=estimator.confidence,
    )
    if homography is None or not np.isfinite(homography).all():
        return none
    inliers = mask[:, 0].astype(bool)
    if inliers.sum() < 4 or not all(_determine_a_homography(points[inliers]) for points in (source, target)):
        return none
    if np.linalg.det(homography / np.linalg.norm(homography)) <= np.finfo(np.float64).eps:
        return none
    return Estimate(homography, inliers)


def corner_error(estimated: np.ndarray | None, true: np.ndarray, corners: np.ndarray) -> float | None:
    """Mean distance in pixels between the corners `(4, 2)` mapped by the estimated and by the true homography.

    None without an estimate; infinite when the estimate maps a corner beyond infinity.

    >>> corner_error(np.array([[1, 0, 3], [0, 1, 4], [0, 0, 1.0]]), np.eye(3), np.array([[0, 0], [9, 9.0]]))
    5.0
    """
    if estimated is None:
        return None
    return float(np.linalg.norm(transform(estimated, corners) - transform(true, corners), axis=1).mean())


def _determine_a_homography(points: np.ndarray) -> bool:
    """Whether points `(N, 2)` are spread enough to fix eight unknowns.

    They are when the equations x × Hx = 0 leave one solution. Points on a line leave more, and so do points on a line
    and a single one beside it.
    """
    centred = points - points.mean(axis=0)
    scale = np.abs(centred).max()
    if scale == 0:
        return False
    x, y = (centred / scale).T
    zero, one = np.zeros_like(x), np.ones_like(x)
    rows = [[x, y, one, zero, zero, zero, -x * x, -x * y, -x], [zero, zero, zero, x, y, one, -y * x, -y * y, -y]]
    equations = np.concatenate([np.stack(row, axis=1) for row in rows])
    spreads = np.linalg.svd(equations, compute_uv=False)
    return bool(spreads[7] > SMALLEST_SPREAD * spreads[0])
