"""Shared fixtures: the recorded checkpoint and cases, and a fresh core on them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tests_helpers import load_case, load_core, load_recording

from rotationbench.diffusion import StableDiffusion
from rotationbench.sample import DragSample


@pytest.fixture
def golden_core() -> Callable[..., StableDiffusion]:
    return load_core


@pytest.fixture
def golden_sample() -> Callable[..., DragSample]:
    return load_case


@pytest.fixture
def golden_recording() -> Callable[[str], tuple[dict[str, np.ndarray], dict[str, float]]]:
    return load_recording
