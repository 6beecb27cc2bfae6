"""Pictures and jobs for the tests of Table I."""

from pathlib import Path

import numpy as np
from PIL import Image

from evaluation.table1.experiment import FeaturePlan
from evaluation.table1.features.base import Runtime
from evaluation.table1.features.sift import Sift
from evaluation.table1.pairs import Protocol
from rotationbench.config import ModelConfig


def save_picture(path: Path, size: tuple[int, int] = (160, 200), seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
    return path


def plan_in(folder: Path, *, seed: int = 0, **settings) -> FeaturePlan:
    protocol = Protocol(warps_per_image=1, seed=seed)
    return FeaturePlan("sift", Sift(**settings), Runtime(ModelConfig(name="none", pretrained="none")), protocol, folder)
