from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests_helpers import COARSE_LATENT_TOLERANCE, assert_agrees, evaluations, recorded_evaluations

from methods.dragnoise import DragNoise, sample_with_bottleneck
from rotationbench.diffusion import LoraSettings
from rotationbench.diffusion.features import bottleneck_in_place, capture_features
from rotationbench.errors import ConfigError
from rotationbench.points import ImagePoints


@pytest.mark.parametrize("case", ["cat", "rocket"])
@pytest.mark.parametrize("attention", ["unfused", "sdpa"])
def test_reproduces_the_released_program(golden_core, golden_sample, golden_recording, case, attention):
    expected, options = golden_recording(f"{case}_dragnoise")
    core = golden_core(dtype="fp64", attention=attention)
    method = DragNoise(
        max_steps=options["n_pix_step"],
        latent_lr=options["lr"],
        lam=options["lam"],
        r_m=options["r_m"],
        r_t=options["r_p"],
        inversion_strength=options["inversion_strength"],
        end_step=options["end_step"],
        replaced_below_index=options["replaced_below_index"],
        lora=None,
    )
    result = method.edit(core, golden_sample(case))

    assert_agrees(result, expected, latents=("inverted", "bottleneck", "optimized"), tolerance=COARSE_LATENT_TOLERANCE)
    calls, images, grad_calls = recorded_evaluations(expected)
    # The program denoises the same latent twice, side by side.
    assert evaluations(core) == (calls, images - core.actual_steps(options["inversion_strength"]), grad_calls)


def moved(result) -> float:
    return float((result.trace["optimized"] - result.trace["bottleneck"]).norm())


def test_the_latent_stays_and_the_bottleneck_moves(golden_core, golden_sample):
    sample = golden_sample("rocket")
    result = DragNoise(max_steps=3, latent_lr=5.0, lora=None).edit(golden_core(), sample)
    still = DragNoise(max_steps=1, latent_lr=1e-9, lora=None).edit(golden_core(), sample)
    torch.testing.assert_close(result.trace["inverted"], still.trace["inverted"], rtol=0, atol=0)
    assert result.trace["optimized"].shape == result.trace["bottleneck"].shape == (1, 32, 2, 2)
    assert moved(result) > 1
    assert not torch.allclose(result.edited, still.edited, atol=1e-3)


@torch.no_grad()
def test_its_own_bottleneck_changes_a_step_in_nothing(golden_core, golden_sample):
    core, sample = golden_core(), golden_sample("rocket")
    context = core.embed(sample.prompt)
    latents = core.invert_image(core.image_tensor(sample.image), sample.prompt, 1)
    timestep = core.drag_timestep(1)
    with capture_features(core.unet, 0, stop=False) as captured:
        noise = core.noise(latents, timestep, context)
    plain = core.scheduler.step(noise, timestep, latents, eta=0.0).prev_sample
    sampled = sample_with_bottleneck(core, latents, captured.take(), context, steps=1, steps_with_bottleneck=1)
    torch.testing.assert_close(sampled, plain, rtol=0, atol=0)


def test_down_blocks_work_once_and_blocks_are_restored(golden_core, golden_sample):
    core = golden_core()
    blocks, mid_block = list(core.unet.down_blocks), core.unet.mid_block
    passes = []
    handles = [
        block.register_forward_hook(lambda *seen, name=name: passes.append(name))
        for name, block in (("down", blocks[0]), ("mid", mid_block), ("up", core.unet.up_blocks[-1]))
    ]
    DragNoise(max_steps=3, inversion_strength=0.1, variant="released", lora=None).edit(core, golden_sample("rocket"))
    for handle in handles:
        handle.remove()
    # One step of inversion, one evaluation before the drag, three in it, one step of sampling.
    assert [passes.count(name) for name in ("down", "mid", "up")] == [3, 2, 6]
    assert list(core.unet.down_blocks) == blocks and core.unet.mid_block is mid_block
    with pytest.raises(RuntimeError, match="inside"), bottleneck_in_place(core.unet, torch.zeros(1, 32, 2, 2)):
        raise RuntimeError("inside")
    assert core.unet.mid_block is mid_block


@pytest.mark.parametrize(
    ("settings", "inference_steps", "steps", "expected"),
    [
        ({}, 50, 35, 25),
        ({}, 20, 14, 10),
        ({"variant": "released"}, 50, 35, 35),
        ({"end_step": 30}, 50, 35, 5),
        ({"variant": "released", "end_step": 5}, 20, 14, 9),
        ({"end_step": 44, "replaced_below_index": 6}, 10, 7, 3),
        ({"replaced_below_index": 50}, 10, 7, 7),
    ],
)
def test_how_many_steps_have_the_bottleneck(settings, inference_steps, steps, expected):
    assert DragNoise(**settings).steps_with_bottleneck(inference_steps, steps) == expected


@pytest.mark.parametrize("settings", [{"end_step": 7}, {"replaced_below_index": 3}])
def test_a_bottleneck_that_no_step_has_is_an_error(golden_core, golden_sample, settings):
    with pytest.raises(ConfigError, match=f"method.{next(iter(settings))}: .* 7 steps"):
        DragNoise(**settings, lora=None).edit(golden_core(), golden_sample("rocket"))


def test_without_a_mask_nothing_holds_the_background_unless_it_shall(golden_core, golden_sample):
    sample = golden_sample("rocket")
    settings = {"max_steps": 3, "latent_lr": 5.0, "lora": None, "lam": 10.0}
    without = DragNoise(**settings).edit(golden_core(), replace(sample, mask=None))
    empty = DragNoise(**settings).edit(golden_core(), replace(sample, mask=np.zeros(sample.size, dtype=bool)))
    released = DragNoise(**settings, background_without_mask=True).edit(golden_core(), replace(sample, mask=None))
    torch.testing.assert_close(without.trace["optimized"], empty.trace["optimized"])
    assert not torch.allclose(released.trace["optimized"], without.trace["optimized"])


def test_a_drag_that_is_there_already_ends_at_once(golden_core, golden_sample):
    sample = golden_sample("rocket")
    still = replace(sample, targets=sample.sources)
    result = DragNoise(max_steps=5, lora=None).edit(golden_core(), still)
    assert (result.steps, result.converged) == (0, True)
    assert moved(result) == 0


@pytest.mark.parametrize(
    ("source", "target"), [((0, 0), (40, 40)), ((103, 63), (60, 20)), ((0, 63), (0, 20)), ((103, 0), (103, 40))]
)
def test_handles_at_the_border_of_a_picture_that_is_not_square(golden_core, golden_sample, source, target):
    # 13 columns of latent cells, which the UNet's levels cannot halve evenly.
    sample = golden_sample("cat")
    small = replace(
        sample,
        image=sample.image[:64, :104].copy(),
        mask=sample.mask[:64, :104].copy(),
        sources=ImagePoints.of([source, (48, 32)]),
        targets=ImagePoints.of([target, (48, 32)]),
    )
    result = DragNoise(max_steps=3, latent_lr=5.0, lora=None).edit(golden_core(), small)
    assert result.edited.shape == (1, 3, 64, 104)
    assert torch.isfinite(result.trace["optimized"]).all()
    ends = result.trajectory[-1].rc
    assert len(ends) == 2
    assert (ends >= 0).all() and (ends[:, 0] < 32).all() and (ends[:, 1] < 52).all()


def test_a_lora_changes_the_edit(golden_core, golden_sample):
    sample = golden_sample("rocket")
    with_lora = DragNoise(max_steps=1, lora=LoraSettings(rank=2, steps=2, batch_size=2)).edit(golden_core(), sample)
    without = DragNoise(max_steps=1, lora=None).edit(golden_core(), sample)
    assert not torch.equal(with_lora.edited, without.edited)


@pytest.mark.parametrize(
    "setting", [{"variant": "any"}, {"end_step": -1}, {"replaced_below_index": -1}, {"latent_lr": 0.0}]
)
def test_bad_settings_are_named(setting):
    with pytest.raises(ConfigError, match=f"method.{next(iter(setting))}"):
        DragNoise(**setting)
