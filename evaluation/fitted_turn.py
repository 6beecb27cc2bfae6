"""The turn of an object by fitting the whole of it, for edits that are too blurred for correspondences."""

from __future__ import annotations

import cv2
import numpy as np

from rotationbench.rotation import turn_matrix
from rotationbench.sample import DragSample

BORDER = 0.04
"""Width of the ground around the object that is looked at too, as a share of the picture's longer side."""
LIMIT = 90
"""Largest turn in degrees, in either direction, that is fitted."""


def fitted_turn(sample: DragSample, edited: np.ndarray) -> float:
    """The turn in degrees, clockwise on the screen, after which the source's object fits the edited picture best.

    A fit always has an answer, also where the object is too blurred for `evaluation.metrics.rotation` to measure its
    turn. It takes the object with a border of its ground, turns it about the sample's pivot, and compares by mean
    absolute difference. That needs a ground that looks the same all round the object, as in the embedded model's world.

    Args:
        sample: what was edited, with an object mask and a pivot.
        edited: uint8 `(H, W, 3)`, the picture after the edit, of the sample's size.

    Raises:
        ValueError: when the sample has no object mask or no pivot.
    """
    mask, pivot = sample.meta.object_mask, sample.meta.pivot
    if mask is None or pivot is None:
        raise ValueError(f"{sample.name}: expected a sample with an object mask and a pivot.")
    grown = cv2.dilate(mask.astype(np.uint8), np.ones((2 * round(BORDER * max(mask.shape)) + 1,) * 2, np.uint8))
    size, source, seen = mask.shape[::-1], sample.image.astype(np.float32), edited.astype(np.float32)
    best, answer = np.inf, 0
    for angle in range(-LIMIT, LIMIT + 1):
        matrix = turn_matrix(pivot, angle)
        inside = cv2.warpAffine(grown, matrix, size, flags=cv2.INTER_NEAREST).astype(bool)
        difference = float(np.abs(cv2.warpAffine(source, matrix, size)[inside] - seen[inside]).mean())
        if difference < best:
            best, answer = difference, angle
    return float(answer)
