"""Shared fixtures: the recorded checkpoint and cases, and a fresh core on them."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from tests_helpers import GOLDEN

from rotationbench.diffusion import StableDiffusion
from rotationbench.points import ImagePoints
from rotationbench.sample import DragSample


def load_core(**settings: object) -> StableDiffusion:
    """The recorded random-weight checkpoint on the CPU, ten inference steps unless told otherwise."""
    arguments = {"device": "cpu", "dtype": "fp32", "num_inference_steps": 10, "attention": "unfused"} | settings
    return StableDiffusion.from_pretrained(str(GOLDEN / "tinyA"), **arguments)


def load_case(case: str, axis: np.ndarray | None = None) -> DragSample:
    """A recorded case; `axis` (N, 2) in cells of the supervision grid is added as explicit pivots."""
    folder = GOLDEN / "cases" / case
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    points = np.array(config["point"], dtype=np.float64)
    sources, targets = points[0::2], points[1::2]
    if axis is not None:
        pivots = axis[:, ::-1] * 2
        sources, targets = np.concatenate([sources, pivots]), np.concatenate([targets, pivots])
    with Image.open(folder / "image.png") as image, Image.open(folder / "mask.png") as mask:
        return DragSample(
            name=case,
            image=np.array(image.convert("RGB")),
            prompt=config["prompt"],
            sources=ImagePoints(sources),
            targets=ImagePoints(targets),
            mask=np.array(mask.convert("L")) > 127,
        )


def load_recording(name: str) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """The arrays of a recording and the options it was made with."""
    with np.load(GOLDEN / f"{name}.npz") as archive:
        arrays = {key: archive[key] for key in archive.files}
    options = json.loads(str(arrays.pop("options"))) if "options" in arrays else {}
    return arrays, options


@pytest.fixture
def golden_core() -> Callable[..., StableDiffusion]:
    return load_core


@pytest.fixture
def golden_sample() -> Callable[..., DragSample]:
    return load_case


@pytest.fixture
def golden_recording() -> Callable[[str], tuple[dict[str, np.ndarray], dict[str, float]]]:
    return load_recording
