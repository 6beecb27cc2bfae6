"""Where features without a detector of their own are read: SuperPoint's keypoints, or corners in their place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from evaluation.table1.features.base import Runtime
from evaluation.table1.features.superpoint import SuperPoint
from evaluation.table1.features.superpoint_open import SuperPointOpen
from rotationbench.errors import MissingWeightsError
from rotationbench.settings import check_choice

DETECTORS = ("auto", "superpoint", "superpoint_open", "corners")

CORNER_QUALITY = 0.005
"""Corner strength, relative to the strongest of the picture, below which corners are dropped."""


@dataclass
class Keypoints:
    """Which keypoints are described.

    Args:
        detector: `"superpoint"`, `"superpoint_open"`, `"corners"` (Shi and Tomasi, through OpenCV), or `"auto"`: the
            first of the three whose weights are at hand.
        superpoint: settings of SuperPoint; its number of keypoints and the radius of its suppression hold for
            corners, too.
        superpoint_open: settings of SuperPoint with open weights.

    Raises:
        ConfigError: when the detector is unknown.
    """

    detector: str = "auto"
    superpoint: SuperPoint = field(default_factory=SuperPoint)
    superpoint_open: SuperPointOpen = field(default_factory=SuperPointOpen)

    def __post_init__(self) -> None:
        check_choice(self, DETECTORS, "detector", section="keypoints")


@dataclass(frozen=True, eq=False)
class Detector:
    """A loaded detector: `detect` gives keypoints float64 `(N, 2)` in pixels of a picture uint8 `(H, W, 3)`."""

    name: str
    identity: dict[str, Any]
    detect: Callable[[np.ndarray], np.ndarray]


def load_detector(keypoints: Keypoints, runtime: Runtime) -> Detector:
    """The detector that `keypoints` names.

    Raises:
        MissingWeightsError: when SuperPoint is asked for by name and its weights are not at hand.
    """
    wanted = keypoints.detector
    networks: dict[str, tuple[str, SuperPoint | SuperPointOpen]] = {
        "superpoint": ("SuperPoint's keypoints", keypoints.superpoint),
        "superpoint_open": ("keypoints of SuperPoint's open weights", keypoints.superpoint_open),
    }
    for name, (title, settings) in networks.items():
        if wanted in ("auto", name):
            try:
                return _network_detector(title, settings, runtime)
            except MissingWeightsError:
                if wanted == name:
                    raise
    count, distance = keypoints.superpoint.max_keypoints, keypoints.superpoint.nms_radius
    return Detector("corners", {"opencv": cv2.__version__}, lambda image: detect_corners(image, count, distance))


def _network_detector(title: str, settings: SuperPoint | SuperPointOpen, runtime: Runtime) -> Detector:
    extractor = settings.load(runtime)
    identity = {"version": settings.version, **extractor.identity}
    return Detector(title, identity, lambda image: extractor.reference(image).keypoints)


def detect_corners(image: np.ndarray, count: int, distance: float) -> np.ndarray:
    """The `count` strongest corners (Shi and Tomasi) float64 `(N, 2)` of a picture uint8 `(H, W, 3)`.

    Args:
        image: the picture.
        count: corners at most.
        distance: pixels between two corners at least.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    corners = cv2.goodFeaturesToTrack(grey, count, CORNER_QUALITY, distance)
    return np.zeros((0, 2)) if corners is None else corners.reshape(-1, 2).astype(np.float64)
