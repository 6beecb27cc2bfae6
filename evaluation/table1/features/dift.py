"""DIFT: diffusion features (arXiv 2306.03881) read at keypoints, as they are or with the rotation cured."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch

from evaluation.table1.estimation import Estimator
from evaluation.table1.features.base import LocalFeatures, Runtime
from evaluation.table1.features.keypoints import Keypoints, load_detector
from rotationbench.config import build_core
from rotationbench.diffusion import StableDiffusion
from rotationbench.diffusion.dift import DiftSettings, dift_features, sample_features
from rotationbench.points import ImagePoints
from rotationbench.rotation import turn_picture, turn_points
from rotationbench.settings import check_between

MOST_VIEWS = 360

PAPER_RESOLUTION = 768
"""Side in pixels of the square that DIFT resizes pictures to for homographies."""


@dataclass
class Dift:
    """Settings of DIFT at keypoints.

    Args:
        dift: block, timestep, ensemble and resolution. A `resolution` of None stands for 768 px, but at most twice
            the resolution that the model works at.
        keypoints: where features are read.
        views: copies of the reference picture, turned by whole multiples of 360° / `views`, whose features a
            keypoint is compared by: the nearest counts. 1 is DIFT as published; more is RotationDrag's remedy,
            features of the picture turned as its content is.
        estimator: how the homography is estimated.

    Raises:
        ConfigError: when there is no view, or one for less than a degree.
    """

    version: ClassVar[int] = 1
    parallel: ClassVar[bool] = False
    metric: ClassVar[str] = "cosine"

    dift: DiftSettings = field(default_factory=lambda: DiftSettings(timestep=0, up_block=2))
    keypoints: Keypoints = field(default_factory=Keypoints)
    views: int = 1
    estimator: Estimator = field(default_factory=lambda: Estimator(method="lmeds"))

    def __post_init__(self) -> None:
        check_between(self, 1, MOST_VIEWS, "views", section="")

    def load(self, runtime: Runtime) -> DiftExtractor:
        """The extractor, with the runtime's diffusion model."""
        core = build_core(runtime.model, device=runtime.device, dtype=runtime.dtype)
        return DiftExtractor(self, core, runtime)


class DiftExtractor:
    """DIFT of pictures; see `Extractor`."""

    def __init__(self, settings: Dift, core: StableDiffusion, runtime: Runtime) -> None:
        self._core, self._seed = core, runtime.seed
        self._detector = load_detector(settings.keypoints, runtime)
        self._angles = [360 * view / settings.views for view in range(settings.views)]
        resolution = settings.dift.resolution
        if resolution is None:
            resolution = PAPER_RESOLUTION if core.resolution is None else min(PAPER_RESOLUTION, 2 * core.resolution)
        self._dift = replace(settings.dift, resolution=resolution)
        self.identity: dict[str, Any] = {
            "model": core.model_hash,
            "dtype": str(core.dtype),
            "resolution": resolution,
            "keypoints": [self._detector.name, self._detector.identity],
        }
        self.note = f"{runtime.model.name} at {resolution} px, {self._detector.name}"

    def reference(self, image: np.ndarray) -> LocalFeatures:
        """Features of a picture uint8 `(H, W, 3)` in all views."""
        return self._describe(image, self._angles)

    def warped(self, image: np.ndarray) -> LocalFeatures:
        """Features of a picture uint8 `(H, W, 3)` as it stands."""
        return self._describe(image, [0.0])

    def _describe(self, image: np.ndarray, angles: list[float]) -> LocalFeatures:
        keypoints = self._detector.detect(image)
        size = image.shape[:2]
        descriptors, visible = [], []
        for angle in angles:
            turned, turned_keypoints = turn(image, keypoints, angle)
            features = dift_features(self._core, turned, self._dift, seed=self._seed)
            descriptors.append(sample_features(features, ImagePoints(turned_keypoints), size))
            inside = (turned_keypoints >= -0.5) & (turned_keypoints <= [size[1] - 0.5, size[0] - 0.5])
            visible.append(torch.from_numpy(inside.all(axis=1)))
        stacked = torch.stack(descriptors)
        return LocalFeatures(keypoints, stacked, torch.stack(visible).to(stacked.device))


def turn(image: np.ndarray, keypoints: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """A picture uint8 `(H, W, 3)` turned about its centre on its own canvas, and where its keypoints `(N, 2)` went.

    The angle is in degrees, clockwise on the screen. What comes into view is the mirrored picture, which has no edges
    that the features could take for content.
    """
    if angle == 0:
        return image, keypoints
    height, width = image.shape[:2]
    centre = (width - 1) / 2, (height - 1) / 2
    return turn_picture(image, centre, angle), turn_points(keypoints, centre, angle)
