"""SIFT (Lowe, IJCV 2004) and RootSIFT (Arandjelović and Zisserman, CVPR 2012)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import cv2
import numpy as np
import torch

from evaluation.table1.estimation import Estimator
from evaluation.table1.features.base import LocalFeatures, Runtime
from evaluation.table1.features.selection import MOST_KEYPOINTS
from rotationbench.settings import check_between


@dataclass
class Sift:
    """Settings of OpenCV's SIFT.

    Args:
        max_keypoints: keypoints with the highest contrast that are kept; 0 keeps all.
        contrast_threshold: contrast below which keypoints are dropped.
        root: take the square root of L1-normalised descriptors, which compares them by the Hellinger kernel.
        estimator: how the homography is estimated.

    Raises:
        ConfigError: when a value lies outside its range.
    """

    version: ClassVar[int] = 1
    parallel: ClassVar[bool] = True
    metric: ClassVar[str] = "l2"

    max_keypoints: int = 1000
    contrast_threshold: float = 0.01
    root: bool = False
    estimator: Estimator = field(default_factory=Estimator)

    def __post_init__(self) -> None:
        check_between(self, 0, MOST_KEYPOINTS, "max_keypoints", section="")
        check_between(self, 0, 1, "contrast_threshold", section="")

    def load(self, runtime: Runtime) -> SiftExtractor:
        """The extractor; it needs nothing from `runtime`."""
        return SiftExtractor(self)


class SiftExtractor:
    """SIFT of pictures; see `Extractor`."""

    def __init__(self, settings: Sift) -> None:
        self.identity: dict[str, Any] = {"opencv": cv2.__version__}
        self.note = ""
        self._root = settings.root
        # Without the precise upscaling, positions are biased by a quarter of a pixel, which turns with the picture.
        self._sift = cv2.SIFT.create(
            nfeatures=settings.max_keypoints,
            contrastThreshold=settings.contrast_threshold,
            enable_precise_upscale=True,
        )

    def reference(self, image: np.ndarray) -> LocalFeatures:
        """Features of a picture uint8 `(H, W, 3)`."""
        keypoints, descriptors = self._sift.detectAndCompute(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), None)
        if descriptors is None:
            return LocalFeatures(np.zeros((0, 2)), torch.zeros((1, 0, 128)))
        xy = np.array([keypoint.pt for keypoint in keypoints], dtype=np.float64)
        return LocalFeatures(xy, torch.from_numpy(root_sift(descriptors) if self._root else descriptors)[None])

    warped = reference


def root_sift(descriptors: np.ndarray) -> np.ndarray:
    """RootSIFT `(N, 128)` of SIFT descriptors `(N, 128)`: each has unit L2 norm."""
    sums = np.abs(descriptors).sum(axis=1, keepdims=True)
    return np.sqrt(descriptors / np.maximum(sums, np.finfo(np.float32).tiny))
