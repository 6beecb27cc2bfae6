"""Rotation error: the angle between the turn that was asked for and the turn that the content made.

The turn is measured from correspondences that start inside the object: first by SIFT (Lowe, 2004), and where that
finds too few, by tracking corners (Shi and Tomasi, 1994; Lucas and Kanade, 1981) from copies of the source that were
turned by every multiple of 15°. A similarity is fitted to them robustly (RANSAC). What cannot be told from the
pictures, because the object has no texture, looks the same at several angles, or is lost, is undetermined.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from evaluation.metrics.base import Edited, Metric, MetricFamily, Values
from evaluation.metrics.checks import require_region, require_same_pictures
from evaluation.metrics.regions import touched_region
from rotationbench.rotation import turn_between, turn_matrix, wrap_degrees
from rotationbench.sample import DragSample

if TYPE_CHECKING:
    from rotationbench.diffusion.core import StableDiffusion

WORKING_SIDE = 512
"""Smaller pictures are enlarged to about this long side, because detectors look at neighbourhoods of fixed size."""
RATIO = 0.8
"""Lowe's test: the best match must be this much closer than the second best."""
TOLERANCE = 4.0
"""RANSAC's inlier distance in pixels of the enlarged picture."""
MIN_INLIERS = 6
MIN_CONFIDENCE = 0.25
SCALES = (0.5, 2.0)
"""Fits that shrink or grow the object beyond this have matched something else."""
CANDIDATES = range(-180, 180, 15)
DISTINCT = 30.0
"""Degrees between turns that count as different answers."""
SHRINK = 4
"""The turned object's place is first looked for in pictures this many times smaller."""
WINDOW = (21, 21)
LEVELS = 1
"""Of the image pyramid: from further up, the background would be tracked and not the object."""
PATCH = 15
ALIKE = 0.7
"""A tracked corner's patches of `PATCH` pixels must correlate by more than this."""
SEARCH_MARGIN = 0.02
"""Share of the long side by which the turned object may leave the mask and still be found."""


@dataclass(frozen=True)
class Turn:
    """A measured turn.

    Args:
        angle: degrees in (−180, 180], positive from +x to +y, which is clockwise on the screen.
        confidence: between 0 and 1: the share of the matches (by tracking, of the corners) that agree with the turn,
            less the largest share that agrees with another one at least 30° away.
        inliers: correspondences that agree with the turn.
    """

    angle: float
    confidence: float
    inliers: int


def rotation_error(turn: float, wanted: float) -> float:
    """Degrees in [0, 180] between two turns."""
    return abs(wrap_degrees(turn - wanted))


def wanted_turn(sample: DragSample) -> float | None:
    """Degrees that a sample asks its content to turn by, clockwise on the screen; None when it does not say.

    Taken from the metadata; otherwise, given a pivot, the mean over the pairs of the angle from source to target.
    """
    if sample.meta.angle is not None:
        return sample.meta.angle
    pivot = sample.meta.pivot
    if pivot is None and sample.is_pivot.sum() == 1:
        pivot = tuple(sample.sources.xy[sample.is_pivot][0])
    if pivot is None or sample.is_pivot.all():
        return None
    before = sample.sources.xy[~sample.is_pivot] - pivot
    after = sample.targets.xy[~sample.is_pivot] - pivot
    turns = np.radians([turn_between(*pair) for pair in zip(before, after, strict=True)])
    return math.degrees(math.atan2(np.sin(turns).mean(), np.cos(turns).mean()))


def measure_turn(
    source: np.ndarray, edited: np.ndarray, object_mask: np.ndarray, search: np.ndarray | None = None
) -> Turn | None:
    """The turn that the object made between two pictures.

    Args:
        source: uint8 `(H, W, 3)`, the picture before the edit.
        edited: uint8 `(H, W, 3)`, the picture after it.
        object_mask: bool `(H, W)`, the object in `source`.
        search: bool `(H, W)`, where the object may be in `edited`; None means anywhere.

    Returns:
        The turn, or None when it could not be determined.

    Raises:
        ValueError: when shapes or dtypes do not fit together.
    """
    require_same_pictures(source, edited)
    require_region(object_mask, source.shape[:2])
    require_region(search, source.shape[:2])
    first, second = (_enlarged(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)) for picture in (source, edited))
    size = first.shape
    inside = cv2.resize(object_mask.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST)
    allowed = (
        np.ones(size, np.uint8)
        if search is None
        else cv2.resize(search.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST)
    )
    for estimate in (_turn_by_sift, _turn_by_tracking):
        turn = estimate(first, second, inside, allowed)
        if turn is not None and turn.inliers >= MIN_INLIERS and turn.confidence >= MIN_CONFIDENCE:
            return turn
    return None


def _enlarged(grey: np.ndarray) -> np.ndarray:
    factor = max(1, round(WORKING_SIDE / max(grey.shape)))
    return cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC) if factor > 1 else grey


def _turn_by_sift(first: np.ndarray, second: np.ndarray, inside: np.ndarray, allowed: np.ndarray) -> Turn | None:
    sift = cv2.SIFT.create(contrastThreshold=0.02)
    keypoints_a, descriptors_a = sift.detectAndCompute(first, inside)
    keypoints_b, descriptors_b = sift.detectAndCompute(second, allowed)
    if len(keypoints_a) < MIN_INLIERS or len(keypoints_b) < 2:
        return None
    pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(descriptors_a, descriptors_b, k=2)
    matches = [pair[0] for pair in pairs if len(pair) == 2 and pair[0].distance < RATIO * pair[1].distance]
    places = {(keypoints_a[m.queryIdx].pt, keypoints_b[m.trainIdx].pt) for m in matches}
    if len(places) < MIN_INLIERS:
        return None
    before, after = (np.array(side, np.float32) for side in zip(*sorted(places), strict=True))
    fit = _similarity(before, after)
    if fit is None:
        return None
    angle, agree = fit
    rival = _similarity(before[~agree], after[~agree])
    against = rival[1].sum() if rival is not None and rotation_error(rival[0], angle) >= DISTINCT else 0
    return Turn(angle, float((agree.sum() - against) / len(places)), int(agree.sum()))


def _turn_by_tracking(first: np.ndarray, second: np.ndarray, inside: np.ndarray, allowed: np.ndarray) -> Turn | None:
    # Corners, because along an edge nothing can be told apart.
    corners = cv2.goodFeaturesToTrack(first, 200, 0.02, 6, mask=inside, blockSize=7)
    if corners is None or len(corners) < MIN_INLIERS:
        return None
    corners = corners[:, 0]
    centre = tuple(corners.mean(axis=0).tolist())
    turns = []
    for candidate in CANDIDATES:
        matrix = turn_matrix(centre, candidate)
        matrix[:, 2] += _shift(first, second, inside, matrix)
        turned = cv2.warpAffine(first, matrix, first.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
        start = cv2.transform(corners[None], matrix)[0].astype(np.float32)
        after, found = _track(turned, second, start, allowed)
        fit = _similarity(corners[found], after[found])
        if fit is not None:
            turns.append(Turn(fit[0], float(fit[1].sum() / len(corners)), int(fit[1].sum())))
    if not turns:
        return None
    best = max(turns, key=lambda turn: turn.confidence)
    rivals = [turn.confidence for turn in turns if rotation_error(turn.angle, best.angle) >= DISTINCT]
    return Turn(best.angle, best.confidence - max(rivals, default=0.0), best.inliers)


def _shift(first: np.ndarray, second: np.ndarray, inside: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Way `(x, y)` from where the object of `first`, turned by `matrix`, is to where `second` resembles it most."""
    turned = cv2.warpAffine(first, matrix, first.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.warpAffine(inside, matrix, inside.shape[::-1], flags=cv2.INTER_NEAREST)
    turned, second = (
        cv2.resize(item, None, fx=1 / SHRINK, fy=1 / SHRINK, interpolation=cv2.INTER_AREA) for item in (turned, second)
    )
    mask = cv2.resize(mask, turned.shape[::-1], interpolation=cv2.INTER_NEAREST)
    x, y, width, height = cv2.boundingRect(mask)
    if width == 0:
        return np.zeros(2)
    box = np.s_[y : y + height, x : x + width]
    likeness = cv2.matchTemplate(second, turned[box], cv2.TM_CCOEFF_NORMED, mask=mask[box])
    likeness[~np.isfinite(likeness)] = -1
    found_y, found_x = np.unravel_index(likeness.argmax(), likeness.shape)
    return SHRINK * np.array([found_x - x, found_y - y], dtype=np.float64)


def _track(
    turned: np.ndarray, second: np.ndarray, start: np.ndarray, allowed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where `start`, `(N, 2)` in `turned`, is in `second`, and bool `(N,)`: there and back again, and alike."""
    after, ahead, _ = cv2.calcOpticalFlowPyrLK(turned, second, start, start.copy(), winSize=WINDOW, maxLevel=LEVELS)
    back, behind, _ = cv2.calcOpticalFlowPyrLK(second, turned, after, start.copy(), winSize=WINDOW, maxLevel=LEVELS)
    found = (ahead[:, 0] == 1) & (behind[:, 0] == 1) & (np.linalg.norm(back - start, axis=1) < 2.0)
    height, width = allowed.shape
    cells = np.rint(after).astype(int)
    found &= ((cells >= 0) & (cells < [width, height])).all(axis=1)
    found[found] &= allowed[cells[found, 1], cells[found, 0]] > 0
    for index in np.flatnonzero(found):
        there = cv2.getRectSubPix(turned, (PATCH, PATCH), start[index].tolist())
        here = cv2.getRectSubPix(second, (PATCH, PATCH), after[index].tolist())
        found[index] = cv2.matchTemplate(there, here, cv2.TM_CCOEFF_NORMED)[0, 0] > ALIKE
    return after, found


def _similarity(before: np.ndarray, after: np.ndarray) -> tuple[float, np.ndarray] | None:
    """Angle in degrees and bool `(N,)` inliers of the similarity that maps `before` to `after`, both `(N, 2)`."""
    if len(before) < MIN_INLIERS:
        return None
    matrix, inliers = cv2.estimateAffinePartial2D(
        before, after, method=cv2.RANSAC, ransacReprojThreshold=TOLERANCE, maxIters=5000, confidence=0.999
    )
    if matrix is None or not SCALES[0] <= math.hypot(matrix[0, 0], matrix[1, 0]) <= SCALES[1]:
        return None
    return math.degrees(math.atan2(matrix[1, 0], matrix[0, 0])), inliers[:, 0].astype(bool)


def search_region(sample: DragSample) -> np.ndarray | None:
    """Where the object may be after the edit: where the picture may change, the object's own place, and a margin.

    Returns:
        bool `(H, W)`; None means anywhere.
    """
    if sample.mask is None:
        return None
    region = sample.mask.copy()
    for mask in (sample.meta.object_mask, touched_region(sample)):
        if mask is not None:
            region |= mask
    margin = 2 * round(SEARCH_MARGIN * max(sample.size)) + 1
    return cv2.dilate(region.astype(np.uint8), np.ones((margin, margin), np.uint8)).astype(bool)


class Rotation(MetricFamily):
    """The turn that the object made, how sure that is, and how far it is from the turn that was asked for."""

    metrics = (
        Metric("rotation_error", "rotation error", "lower", "°", "accuracy", 30, digits=1, fast=True, main=True),
        Metric("rotation_turn", "turn", None, "°", "accuracy", 31, digits=1, fast=True),
        Metric("rotation_confidence", "confidence of turn", None, "", "accuracy", 32, fast=True),
    )

    def described_tools(self, core: StableDiffusion | None) -> str:
        """See `MetricFamily.described_tools`."""
        return f"opencv {cv2.__version__}"

    def measure(self, edit: Edited) -> Values:
        """See `MetricFamily.measure`."""
        sample = edit.sample
        object_mask = sample.meta.object_mask if sample.meta.object_mask is not None else sample.mask
        turn = None
        if object_mask is not None:
            turn = measure_turn(sample.image, edit.picture, object_mask, search_region(sample))
        wanted = wanted_turn(sample)
        return {
            "rotation_error": None if turn is None or wanted is None else rotation_error(turn.angle, wanted),
            "rotation_turn": None if turn is None else turn.angle,
            "rotation_confidence": None if turn is None else turn.confidence,
        }
