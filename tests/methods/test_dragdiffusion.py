from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests_helpers import GOLDEN, assert_agrees, evaluations, recorded_evaluations

from methods.dragdiffusion import DragDiffusion
from rotationbench.diffusion import LoraSettings
from rotationbench.errors import ConfigError
from rotationbench.points import ImagePoints


@pytest.mark.parametrize("case", ["cat", "rocket", "cat2", "rocket_lora"])
@pytest.mark.parametrize("attention", ["unfused", "sdpa"])
def test_reproduces_the_released_program(golden_core, golden_sample, golden_recording, case, attention):
    name, _, lora = case.partition("_")
    expected, options = golden_recording(f"{name}_dragdiffusion" + ("_lora" if lora else ""))
    core = golden_core(dtype="fp64", attention=attention)
    if lora:
        core.unet.load_lora_adapter(load_file(GOLDEN / options["lora"]), prefix="unet")
        core.unet.to(torch.float64).requires_grad_(False)
    method = DragDiffusion(
        max_steps=options["n_pix_step"], latent_lr=options["lr"], lam=options["lam"], r_m=1, r_t=3, lora=None
    )
    result = method.edit(core, golden_sample(name))

    assert_agrees(result, expected)
    assert evaluations(core) == recorded_evaluations(expected)


def test_a_pivot_pair_is_tracked_and_counts_for_stopping(golden_core, golden_sample):
    result = DragDiffusion(max_steps=2, lora=None).edit(golden_core(), golden_sample("cat"))
    assert len(result.trajectory[-1]) == 2
    assert result.steps == 2
    assert result.converged is False


def test_without_a_mask_nothing_holds_the_background(golden_core, golden_sample):
    sample = golden_sample("rocket")
    without = DragDiffusion(max_steps=3, lora=None).edit(golden_core(), replace(sample, mask=None))
    empty = DragDiffusion(max_steps=3, lora=None).edit(
        golden_core(), replace(sample, mask=np.zeros(sample.size, dtype=bool))
    )
    with_mask = DragDiffusion(max_steps=3, lora=None).edit(golden_core(), sample)
    torch.testing.assert_close(without.trace["optimized"], empty.trace["optimized"])
    assert not torch.allclose(without.trace["optimized"], with_mask.trace["optimized"])


def test_features_alone_stop_early_but_count_the_same(golden_core, golden_sample):
    core = golden_core()
    DragDiffusion(max_steps=2, lora=None).edit(core, replace(golden_sample("rocket"), mask=None))
    assert core.cost.phases["drag"].unet_calls == 3
    assert core.cost.phases["drag"].unet_grad_calls == 2


def test_a_drag_that_is_there_already_ends_at_once(golden_core, golden_sample):
    sample = golden_sample("rocket")
    still = replace(sample, targets=ImagePoints(sample.sources.xy + 1), mask=None)
    result = DragDiffusion(max_steps=5, lora=None).edit(golden_core(), still)
    assert (result.steps, result.converged) == (0, True)
    torch.testing.assert_close(result.trace["optimized"], result.trace["inverted"])


@pytest.mark.parametrize(
    ("source", "target"), [((0, 0), (40, 40)), ((95, 63), (60, 20)), ((0, 63), (0, 20)), ((95, 0), (95, 40))]
)
def test_handles_at_the_border_of_a_picture_that_is_not_square(golden_core, golden_sample, source, target):
    sample = golden_sample("cat")
    small = replace(
        sample,
        image=sample.image[:64, :96].copy(),
        mask=None,
        sources=ImagePoints.of([source]),
        targets=ImagePoints.of([target]),
    )
    result = DragDiffusion(max_steps=3, lora=None).edit(golden_core(), small)
    assert result.edited.shape == (1, 3, 64, 96)
    assert torch.isfinite(result.trace["optimized"]).all()
    ends = result.trajectory[-1].rc
    assert (ends >= 0).all() and (ends[:, 0] < 32).all() and (ends[:, 1] < 48).all()


def test_a_lora_changes_the_edit_and_leaves_no_trace_in_the_unet(golden_core, golden_sample):
    sample = golden_sample("rocket")
    core = golden_core()
    names = list(core.unet.state_dict())
    settings = LoraSettings(rank=2, steps=2, batch_size=2)
    with_lora = DragDiffusion(max_steps=2, lora=settings).edit(core, sample, seed=3)
    again = DragDiffusion(max_steps=2, lora=settings).edit(golden_core(), sample, seed=3)
    other_seed = DragDiffusion(max_steps=2, lora=settings).edit(golden_core(), sample, seed=4)
    without = DragDiffusion(max_steps=2, lora=None).edit(golden_core(), sample)
    assert list(core.unet.state_dict()) == names
    torch.testing.assert_close(with_lora.edited, again.edited, rtol=0, atol=0)
    assert not torch.equal(with_lora.edited, other_seed.edited)
    assert not torch.equal(with_lora.edited, without.edited)


@pytest.mark.parametrize(
    "setting",
    [
        {"max_steps": 0},
        {"latent_lr": -1.0},
        {"inversion_strength": 0.0},
        {"inversion_strength": 1.5},
        {"feature_index": 5},
        {"r_t": -1},
    ],
)
def test_bad_settings_are_named(setting):
    with pytest.raises(ConfigError, match=f"method.{next(iter(setting))}"):
        DragDiffusion(**setting)
