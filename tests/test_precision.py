"""Reduced number types against float64, where nothing branches on a value.

Rounding errors of ε each, made by N operations one after another, add up to about √N·ε. N is taken as the number of the
UNet's parts that compute, so that the tolerances follow from the architecture and the number type alone.
"""

from __future__ import annotations

import math

import pytest
import torch

from methods.dragdiffusion import DragDiffusion
from methods.draglora import DragLora
from methods.dragnoise import DragNoise
from methods.fastdrag import FastDrag
from methods.freedrag import FreeDrag
from methods.gooddrag import GoodDrag
from methods.latent_drag import features_and_previous, motion_supervision
from methods.regiondrag import RegionDrag
from methods.rotationdrag import RotationDrag
from methods.sde_drag import SdeDrag
from rotationbench.diffusion import LoraSettings, attached_lora
from rotationbench.diffusion.devices import DTYPES

REDUCED = ("fp32", "bf16", "fp16")
STEPS = 8
FEATURES = 3


def operations(core) -> int:
    """The UNet's modules without modules inside them."""
    return sum(1 for module in core.unet.modules() if not any(module.children()))


def tolerance(core, evaluations: int = 1) -> float:
    """Relative error of what comes out of so many evaluations of the UNet, one on the result of another."""
    return math.sqrt(evaluations * operations(core)) * torch.finfo(core.dtype).eps


def relative_error(value: torch.Tensor, exact: torch.Tensor) -> float:
    return float((value.double() - exact).norm() / exact.norm())


def computed(core, sample, latents=None, inverted=None) -> dict[str, torch.Tensor]:
    """What an edit computes up to its first gradient, each part from the same input in every number type."""
    image, context = core.image_tensor(sample.image), core.embed(sample.prompt)
    encoded = core.encode(image)
    latents = encoded if latents is None else latents.to(core.latent_dtype)
    found = core.invert(latents, context, STEPS)
    inverted = found if inverted is None else inverted.to(core.latent_dtype)
    variable = inverted.clone().requires_grad_(True)
    features, previous = features_and_previous(
        core, variable, context, core.drag_timestep(STEPS), sample.size, FEATURES, step_back=True
    )
    handle, target = torch.tensor([[20.0, 20.0], [30.0, 24.0]])
    pull = motion_supervision(features, handle, target, r_m=1)
    # A smooth loss: the gradient of |x| jumps at zero, and which side a difference is on is a matter of rounding.
    smooth = features.square().mean() + previous.square().mean()
    return {
        "encode": encoded,
        "embed": context,
        "invert": found,
        "features": features.detach(),
        "step back": previous.detach(),
        "loss": pull.detach(),
        "gradient": core.gradient(smooth, variable),
        "sample back": core.sample_back(inverted, 1.01 * inverted, context, STEPS),
        "decode": core.decode(latents),
    }


@pytest.fixture(scope="module")
def exact():
    from tests_helpers import load_case, load_core

    return computed(load_core(dtype="fp64", attention="sdpa"), load_case("cat"))


@pytest.mark.parametrize("attention", ["sdpa", "unfused"])
@pytest.mark.parametrize("dtype", REDUCED)
def test_each_part_of_an_edit_is_right_to_rounding(golden_core, golden_sample, exact, dtype, attention):
    core = golden_core(dtype=dtype, attention=attention)
    found = computed(core, golden_sample("cat"), exact["encode"], exact["invert"])
    for part, value in found.items():
        evaluations = STEPS if part in ("invert", "sample back") else 1
        assert value.dtype == torch.float32
        assert relative_error(value, exact[part]) < tolerance(core, evaluations), part


def test_the_tolerances_tell_number_types_apart(golden_core):
    single, double = golden_core(dtype="fp32"), golden_core(dtype="fp64")
    assert tolerance(double, STEPS) < 1e-11 < tolerance(single) < 1e-5


@pytest.mark.parametrize("crop", ["square", "full"])
@pytest.mark.parametrize("dtype", REDUCED)
def test_a_step_of_lora_training_is_right_to_rounding(golden_core, golden_sample, dtype, crop):
    # A rate so large that one step leaves a trace; the optimiser's first step is a sign, so the size is the test's.
    settings = LoraSettings(rank=2, steps=1, batch_size=2, lr=1e-3, crop=crop)

    def noise_with_lora(core):
        sample = golden_sample("cat")
        image = core.image_tensor(sample.image)
        with attached_lora(core, image, sample.prompt, settings, seed=1):
            return core.noise(core.encode(image), 301, core.embed(sample.prompt)).detach()

    reduced = golden_core(dtype=dtype)
    error = relative_error(noise_with_lora(reduced), noise_with_lora(golden_core(dtype="fp64")))
    assert error < 2 * tolerance(reduced)


@pytest.mark.parametrize(
    "method",
    [
        DragDiffusion(max_steps=2, lora=LoraSettings(rank=2, steps=1, batch_size=1)),
        RotationDrag(max_steps=2, min_angle=0.0, lora=None),
        FreeDrag(max_steps=2, lora=None),
        SdeDrag(steps=6, lora=LoraSettings(rank=2, steps=1, batch_size=1)),
        GoodDrag(max_steps=2, lora=None),
        FastDrag(),
        DragNoise(max_steps=2, lora=None),
        RegionDrag(steps=6),
        DragLora(max_steps=1, lora=LoraSettings(rank=2, steps=1, batch_size=1)),
    ],
    ids=lambda method: type(method).__name__,
)
@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype != "fp32"])
def test_every_method_edits_in_every_number_type(golden_core, golden_sample, method, dtype):
    core = golden_core(dtype=dtype, attention="sdpa", num_inference_steps=4)
    result = method.edit(core, golden_sample("cat").resized((64, 96)))
    assert result.edited.shape == (1, 3, 64, 96)
    assert torch.isfinite(result.edited).all()
    assert result.edited.std() > 0.01
