"""What a local feature is: settings that load into an extractor of keypoints and descriptors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
import torch

from evaluation.table1.estimation import Estimator
from rotationbench.config import ModelConfig


@dataclass(frozen=True)
class Runtime:
    """What an extractor may need beyond its own settings.

    Args:
        model: the diffusion model.
        device: `"auto"`, `"cpu"`, `"cuda"` or any name torch knows.
        dtype: number type of the diffusion model.
        seed: seed of everything random.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    device: str = "auto"
    dtype: str = "auto"
    seed: int = 0


@dataclass(frozen=True, eq=False)
class LocalFeatures:
    """Keypoints of a picture and their descriptors.

    Args:
        keypoints: float64 `(N, 2)`, `(x, y)` in pixels; an integer is the centre of a pixel.
        descriptors: float32 `(V, N, D)`: one per view of the picture and keypoint. Most features have one view.
        visible: bool `(V, N)`: which keypoints a view shows; None means all.
    """

    keypoints: np.ndarray
    descriptors: torch.Tensor
    visible: torch.Tensor | None = None


class Extractor(Protocol):
    """A loaded feature.

    `identity` is what decides its results beyond the settings, such as a hash of its weights. `note` is a remark for
    the reader of the table, or empty.
    """

    identity: dict[str, Any]
    note: str

    def reference(self, image: np.ndarray) -> LocalFeatures:
        """Features of a reference picture uint8 `(H, W, 3)`; may have several views."""
        ...

    def warped(self, image: np.ndarray) -> LocalFeatures:
        """Features of a warped picture uint8 `(H, W, 3)`; one view."""
        ...


class Feature(Protocol):
    """The settings of a feature, a dataclass.

    `version` is part of what decides whether results on disk are still valid: raise it with every change of the code
    that changes results. `parallel` tells whether several processes may each load it.
    """

    version: ClassVar[int]
    parallel: ClassVar[bool]
    metric: ClassVar[str]
    estimator: Estimator

    def load(self, runtime: Runtime) -> Extractor:
        """The extractor.

        Raises:
            MissingWeightsError: when its weights are not at hand; the message holds the command that fetches them.
            CheckpointError: when its weights cannot be used.
        """
        ...
