"""The insides of outlines, and the masks that a person would paint for a turn."""

from __future__ import annotations

import cv2
import numpy as np

from rotationbench.rotation import turn_mask

SWEEP_STEP = 3.0
"""Degrees between the poses whose union is the swept region."""


def filled(outline: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bool `size = (height, width)`: the inside of a closed outline `(N, 2)` in (x, y) pixels."""
    mask = np.zeros(size, np.uint8)
    cv2.fillPoly(mask, [np.round(outline).astype(np.int32)], 1)
    return mask.astype(bool)


def painted_mask(thing: np.ndarray, pivot: tuple[float, float], angle: float, margin: int) -> np.ndarray:
    """Bool `(H, W)`: what a person would paint so that `thing` may turn: everywhere it passes, with a generous border.

    Args:
        thing: bool `(H, W)`, the thing before the turn.
        pivot: (x, y) in pixels.
        angle: degrees, clockwise on the screen.
        margin: width of the border in pixels.
    """
    poses = np.linspace(0, angle, max(2, int(abs(angle) / SWEEP_STEP) + 1))
    swept = np.any([turn_mask(thing, pivot, pose) for pose in poses], axis=0).astype(np.uint8)
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
    grown = cv2.dilate(swept, brush)
    # A brush rounds corners and closes gaps that are narrower than itself.
    smooth = cv2.GaussianBlur(grown.astype(np.float32), (0, 0), margin / 2)
    return (smooth > 0.5) | swept.astype(bool)
