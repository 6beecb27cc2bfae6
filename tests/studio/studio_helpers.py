"""A studio on the recorded checkpoint, in this process, and what is sent to it."""

from __future__ import annotations

import base64
import io
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests_helpers import GOLDEN

pytest.importorskip("fastapi", reason="the studio's packages are not installed: pip install 'rotationbench[studio]'")

from fastapi import FastAPI
from fastapi.testclient import TestClient
from hydra import compose, initialize_config_dir

from rotationbench.config import build_evaluator, project_root, validated
from studio.app import create_app
from studio.edits import Workshop
from studio.forms import OfferedMethod, offered_methods
from studio.settings import StudioConfig

MODEL = (
    "model=local",
    f"model.pretrained={GOLDEN / 'tinyA'}",
    "model.num_inference_steps=4",
    "device=cpu",
    "cache_dir=null",
)
HOST = "http://127.0.0.1:7861"


@cache
def methods_on_offer(*overrides: str) -> dict[str, OfferedMethod]:
    """Composed once: it takes seconds, and nothing but the overrides of methods decides it."""
    with initialize_config_dir(str(project_root() / "conf"), version_base="1.3"):
        return offered_methods(["task=studio", *MODEL, *overrides])


def make_app(folder: Path, *overrides: str, token: str | None = None) -> FastAPI:
    """A studio whose data, samples and results lie below `folder`."""
    data = folder / "cases"
    if not data.exists():
        shutil.copytree(GOLDEN / "cases", data)
    given = [
        *MODEL,
        "metrics=[background_psnr]",
        f"data.root={data}",
        f"results_dir={folder / 'results'}",
        f"studio.samples={folder / 'samples'}",
        *overrides,
    ]
    with initialize_config_dir(str(project_root() / "conf"), version_base="1.3"):
        config = compose("config", overrides=["task=studio", *given])
    settings = validated(StudioConfig, config)
    suite = build_evaluator(settings.evaluator, metrics=settings.metrics, device=settings.device)
    offered = methods_on_offer(*(override for override in overrides if override.startswith("method")))
    return create_app(settings, Workshop(settings, config, offered, suite), token)


def make_studio(folder: Path, *overrides: str, token: str | None = None) -> TestClient:
    """A client of such a studio, without a network."""
    return TestClient(make_app(folder, *overrides, token=token), base_url=HOST, raise_server_exceptions=False)


def png(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


def picture(height: int = 64, width: int = 96, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def in_base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
