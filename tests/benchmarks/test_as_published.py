from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from tests_helpers import GOLDEN, evaluations

from benchmarks.as_published import as_the_program_computes
from methods.dragdiffusion import DragDiffusion
from methods.rotationdrag import RotationDrag
from rotationbench.diffusion import LoraSettings

SMALL = {"max_steps": 4, "latent_lr": 0.05, "lora": None}


def edited(core, method, sample):
    core.start_edit()
    core._inversions.clear()
    result = method.edit(core, sample)
    return result.trace, evaluations(core)


@pytest.mark.parametrize(
    "method",
    [
        DragDiffusion(max_steps=4, latent_lr=0.05, lora=LoraSettings(rank=2, steps=2, batch_size=1, lr=1e-2)),
        RotationDrag(min_angle=0.0, **SMALL),
    ],
    ids=["dragdiffusion with a LoRA", "rotationdrag"],
)
def test_the_program_s_way_computes_the_same_at_more_cost(golden_core, golden_sample, method):
    core, sample = golden_core(dtype="fp64", attention="sdpa", num_inference_steps=4), golden_sample("rocket")
    ours, cost = edited(core, method, sample)
    with as_the_program_computes(core, "sdpa"):
        program, program_cost = edited(core, method, sample)
    again, _ = edited(core, method, sample)
    assert torch.equal(program["trajectory"], ours["trajectory"])
    for name in ("inverted", "optimized"):
        torch.testing.assert_close(program[name], ours[name], rtol=1e-7, atol=1e-7)
        # Nothing of the program's way is left afterwards.
        torch.testing.assert_close(again[name], ours[name], rtol=0, atol=0)
    assert program_cost >= cost


def test_the_program_s_way_encodes_every_picture_of_a_lora_s_batches(golden_core, golden_sample, monkeypatch):
    core, sample = golden_core(dtype="fp64", attention="sdpa", num_inference_steps=4), golden_sample("rocket")
    method = DragDiffusion(max_steps=1, lora=LoraSettings(rank=2, steps=3, batch_size=2))
    encoded, encode = [], core.encode
    monkeypatch.setattr(core, "encode", lambda image: (encoded.append(len(image)), encode(image))[1])
    edited(core, method, sample)
    # One square of a square picture, and the picture itself.
    assert sum(encoded) == 2
    with as_the_program_computes(core, "sdpa"):
        edited(core, method, sample)
    assert sum(encoded) == 2 + 3 * 2 + 1


def test_the_program_s_way_leaves_nothing_out(golden_core):
    core = golden_core(dtype="fp64", attention="sdpa")
    core.unet.load_lora_adapter(load_file(GOLDEN / "rocket_lora.safetensors"), prefix="unet")
    core.unet.to(torch.float64).requires_grad_(False)
    seen = []
    core.unet.conv_out.register_forward_hook(lambda *arguments: seen.append("end"))
    latents, context = torch.randn(1, 4, 8, 8, dtype=torch.float64), core.embed("")
    with torch.no_grad():
        short = core.features(latents, 301, context, 3)
        assert seen == []
        with as_the_program_computes(core, "sdpa"):
            torch.testing.assert_close(core.features(latents, 301, context, 3), short, rtol=1e-9, atol=1e-9)
        assert seen == ["end"]
        core.features(latents, 301, context, 3)
    assert seen == ["end"]


def test_the_program_s_way_computes_gradients_of_weights_and_decodes_the_reference(
    golden_core, golden_sample, monkeypatch
):
    core, sample = golden_core(dtype="fp64", attention="sdpa"), golden_sample("rocket")
    method = DragDiffusion(**SMALL)
    weight = core.unet.conv_in.weight
    sums, decoded = [], []
    step_back, decode = core.step_back, core.vae.decode
    # The weights' gradients are summed up over the steps: each evaluation sees those of the steps before.
    monkeypatch.setattr(core, "step_back", lambda *given: (sums.append(weight.grad is not None), step_back(*given))[1])
    monkeypatch.setattr(core.vae, "decode", lambda latents: (decoded.append(len(latents)), decode(latents))[1])
    edited(core, method, sample)
    assert not any(sums) and decoded == [1]
    ours = len(sums)
    with as_the_program_computes(core, "sdpa"):
        edited(core, method, sample)
    assert sums[ours:] == [False, False] + [True] * (ours - 2) and decoded == [1, 2]
    assert not any(weight.requires_grad or weight.grad is not None for weight in core.unet.parameters())
