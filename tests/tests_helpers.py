"""What several test modules use that is no fixture."""

from __future__ import annotations

import json
from copy import deepcopy
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from PIL import Image

from rotationbench.config import project_root
from rotationbench.diffusion import StableDiffusion
from rotationbench.diffusion.devices import DTYPES
from rotationbench.diffusion.loading import Components, load_components
from rotationbench.method import DragResult
from rotationbench.points import ImagePoints
from rotationbench.sample import DragSample

COUNTERS = ("unet_calls", "unet_images", "unet_grad_calls")
GOLDEN = Path(__file__).parent / "golden"
LATENT_TOLERANCE = 1e-6
EDITED_TOLERANCE = 1e-5
"""What float64 runs of two programs agree to on any CPU; they were seen to agree to 1e-11 and, in float32, to 3e-8."""
COARSE_LATENT_TOLERANCE = 1e-5
"""The same for recordings whose encoded pictures carry an error of float32, 3e-9; see `golden/README.md`."""


def compose_config(*overrides: str) -> DictConfig:
    """The project's configuration with overrides, as the command line would compose it."""
    with initialize_config_dir(str(project_root() / "conf"), version_base="1.3"):
        return compose("config", overrides=list(overrides))


def relative_error(value: torch.Tensor, expected: np.ndarray) -> float:
    """Relative L2 error of a tensor against a recording."""
    return float(np.linalg.norm(value.numpy() - expected) / np.linalg.norm(expected))


def assert_agrees(
    result: DragResult,
    expected: dict[str, np.ndarray],
    *,
    latents: tuple[str, ...] = ("inverted", "optimized"),
    trajectory: bool = True,
    tolerance: float = LATENT_TOLERANCE,
) -> None:
    """An edit in float64 agrees with a recording: its handles, the latents named, and the edited picture."""
    if trajectory:
        # Recordings keep handles in float32.
        np.testing.assert_array_equal(result.trace["trajectory"].to(torch.float32).numpy(), expected["trajectory"])
    for key in latents:
        assert result.trace[key].dtype == torch.float64
        assert relative_error(result.trace[key], expected[key]) < tolerance, key
    assert np.abs(result.edited.numpy() - expected["edited"]).max() < EDITED_TOLERANCE


def evaluations(core: StableDiffusion) -> tuple[int, int, int]:
    """UNet evaluations of a core so far: calls, latents that went through, and calls that recorded gradients."""
    phases = core.cost.phases.values()
    return tuple(sum(getattr(phase, key) for phase in phases) for key in COUNTERS)  # type: ignore[return-value]


def recorded_evaluations(expected: dict[str, np.ndarray]) -> tuple[int, int, int]:
    """The same as recorded."""
    return tuple(int(expected[key]) for key in COUNTERS)  # type: ignore[return-value]


@lru_cache(maxsize=4)
def _components(dtype: torch.dtype) -> Components:
    return load_components(str(GOLDEN / "tinyA"), vae=None, dtype=dtype)


def load_core(dtype: str = "fp32", **settings: object) -> StableDiffusion:
    """The recorded random-weight checkpoint on the CPU, ten inference steps unless told otherwise.

    A process reads it once for each number type; each core has a copy of its own, which is made in less time.
    """
    number_type = DTYPES[dtype]
    arguments = {"num_inference_steps": 10, "attention": "unfused"} | settings
    components = deepcopy(_components(number_type))
    return StableDiffusion(components, device=torch.device("cpu"), dtype=number_type, **arguments)


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


def places_in(parsed: object) -> list[tuple[dict | list, str | int]]:
    """Every place in parsed JSON where a value stands: the object or list it stands in, and its key there."""
    if not isinstance(parsed, (dict, list)):
        return []
    places = []
    for key in parsed if isinstance(parsed, dict) else range(len(parsed)):
        places += [(parsed, key), *places_in(parsed[key])]
    return places


def weights(path) -> list[torch.Tensor]:
    return torch.load(path, weights_only=True)["average"]["shadow_params"]
