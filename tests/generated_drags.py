"""Samples of the generated split, whose exact results are known, and what edits of them say."""

from __future__ import annotations

from functools import cache

import numpy as np

from rotationbench.config import project_root
from rotationbench.datasets import open_dataset
from rotationbench.method import DragResult
from rotationbench.sample import DragSample, to_uint8


@cache
def generated(name: str) -> DragSample:
    return open_dataset(project_root() / "data" / "rotationbench")[name]


def picture(result: DragResult) -> np.ndarray:
    return to_uint8(result.edited)


def distances_left(result: DragResult, sample: DragSample) -> np.ndarray:
    ends, goals = (points.to_image(sample.size).xy for points in (result.trajectory[-1], result.targets))
    return np.linalg.norm(ends - goals, axis=1)
