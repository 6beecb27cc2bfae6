from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests_helpers import COARSE_LATENT_TOLERANCE, assert_agrees, evaluations, recorded_evaluations

from methods.gooddrag import GoodDrag, motion_supervision
from rotationbench.diffusion import LoraSettings
from rotationbench.errors import ConfigError
from rotationbench.points import ImagePoints

RECORDED = (
    "beta",
    "drag_end_step",
    "track_per_denoise",
    "max_drag_per_track",
    "drag_loss_threshold",
    "once_drag",
    "max_track_no_change",
    "lam",
    "inversion_strength",
)
QUICK = {"drag_end_step": 2, "track_per_denoise": 2, "max_drag_per_track": 2, "lora": None}


@pytest.mark.parametrize("case", ["cat", "rocket"])
@pytest.mark.parametrize("attention", ["unfused", "sdpa"])
def test_reproduces_the_released_program(golden_core, golden_sample, golden_recording, case, attention):
    expected, options = golden_recording(f"{case}_gooddrag")
    core = golden_core(dtype="fp64", attention=attention)
    method = GoodDrag(
        latent_lr=options["lr"],
        r_m=options["r1"],
        r_t=options["r2"],
        lora=None,
        **{name: options[name] for name in RECORDED},
    )
    result = method.edit(core, golden_sample(case))

    assert_agrees(result, expected, latents=("inverted", "optimized", "latents"), tolerance=COARSE_LATENT_TOLERANCE)
    np.testing.assert_array_equal(result.trace["tracked_per_stage"].numpy(), expected["tracked_per_stage"])
    calls, images, grad_calls = recorded_evaluations(expected)
    # The program also looks at the original at the first timestep after those that it drags at, and does not use that.
    assert evaluations(core) == (calls - 1, images - 1, grad_calls)


def test_the_papers_names_of_the_radii_count_when_given():
    given = GoodDrag(r_m=1, r_t=2, r1=3, r2=5)
    assert (given.supervision_radius, given.tracking_radius) == (3, 5)
    assert (GoodDrag().supervision_radius, GoodDrag().tracking_radius) == (4, 12)


def test_each_phase_is_counted(golden_core, golden_sample):
    core = golden_core()
    result = GoodDrag(**QUICK).edit(core, golden_sample("cat"))
    assert result.steps == 8 and result.converged is False
    phases = core.cost.phases
    # At both timesteps: the original once, and four updates.
    assert [phases[name].unet_calls for name in ("inversion", "drag", "sampling")] == [8, 2 + 8, 8]
    assert phases["sampling"].unet_images == 16
    assert result.trace["optimized"].shape == (2, 4, 16, 16)
    assert result.trace["tracked_per_stage"].tolist() == [3, 3]
    assert len(result.trajectory) == 1 + 6


def test_updates_are_shared_out_among_the_timesteps(golden_core, golden_sample):
    result = GoodDrag(**QUICK | {"drag_end_step": 3}, max_steps=7).edit(golden_core(), golden_sample("cat"))
    assert result.steps == 7
    # Three updates, then two and two; every second one is tracked, on top of the start.
    assert result.trace["tracked_per_stage"].tolist() == [2, 2, 2]
    two = GoodDrag(**QUICK | {"drag_end_step": 3}, max_steps=2).edit(golden_core(), golden_sample("cat"))
    assert two.steps == 2 and two.trace["tracked_per_stage"].tolist() == [1, 1]


def test_a_loss_below_the_threshold_and_once_drag_track_after_every_update(golden_core, golden_sample):
    sample = golden_sample("cat")
    low = GoodDrag(**QUICK, drag_loss_threshold=1e6).edit(golden_core(), sample)
    once = GoodDrag(**QUICK, once_drag=True).edit(golden_core(), sample)
    assert low.steps == once.steps == 4
    torch.testing.assert_close(low.trace["trajectory"], once.trace["trajectory"], rtol=0, atol=0)


def test_rounds_that_move_nothing_end_the_drag_also_across_timesteps(golden_core, golden_sample):
    # No tracking radius: the handles cannot move.
    settings = QUICK | {"r_t": 0, "drag_end_step": 4, "max_drag_per_track": 1}
    result = GoodDrag(**settings, max_track_no_change=3).edit(golden_core(), golden_sample("cat"))
    assert result.trace["tracked_per_stage"].tolist() == [3, 2]
    assert (result.steps, result.converged) == (3, False)


def test_a_drag_that_is_there_already_ends_at_once(golden_core, golden_sample):
    sample = golden_sample("rocket")
    still = replace(sample, targets=ImagePoints(sample.sources.xy + 1), mask=None)
    core = golden_core()
    result = GoodDrag(**QUICK).edit(core, still)
    assert (result.steps, result.converged) == (0, True)
    torch.testing.assert_close(result.trace["optimized"], result.trace["inverted"])
    # With nothing dragged, both pictures of the pair are the same.
    plain = core.decode(core.sample_back(*[result.trace["inverted"]] * 2, core.embed(still.prompt), 8))
    torch.testing.assert_close(result.edited, plain, rtol=0, atol=1e-4)


@pytest.mark.parametrize("settings", [{"inversion_strength": 1.0}, {"drag_end_step": 50}, {"inversion_strength": 0.1}])
def test_the_whole_schedule_can_be_dragged_at(golden_core, golden_sample, settings):
    result = GoodDrag(**QUICK | {"track_per_denoise": 1, "r_t": 1} | settings).edit(golden_core(), golden_sample("cat"))
    assert torch.isfinite(result.edited).all()
    stages = {1.0: 2, 0.1: 1}.get(settings.get("inversion_strength"), 8)
    assert len(result.trace["tracked_per_stage"]) == stages


def test_without_a_mask_nothing_holds_the_background_unless_it_shall(golden_core, golden_sample):
    sample = golden_sample("rocket")
    settings = QUICK | {"lam": 10.0}
    core = golden_core()
    without = GoodDrag(**settings).edit(core, replace(sample, mask=None))
    empty = GoodDrag(**settings).edit(golden_core(), replace(sample, mask=np.zeros(sample.size, dtype=bool)))
    released = GoodDrag(**settings, background_without_mask=True).edit(golden_core(), replace(sample, mask=None))
    torch.testing.assert_close(without.trace["optimized"], empty.trace["optimized"])
    assert not torch.allclose(released.trace["optimized"], without.trace["optimized"])


def test_the_prompt_counts_unless_it_shall_not(golden_core, golden_sample):
    sample = golden_sample("rocket")
    empty = GoodDrag(**QUICK, use_prompt=False).edit(golden_core(), sample)
    unnamed = GoodDrag(**QUICK).edit(golden_core(), replace(sample, prompt=""))
    torch.testing.assert_close(empty.edited, unnamed.edited, rtol=0, atol=0)
    assert not torch.equal(empty.trace["inverted"], GoodDrag(**QUICK).edit(golden_core(), sample).trace["inverted"])


@pytest.mark.parametrize(
    ("source", "target"), [((0, 0), (40, 40)), ((103, 63), (60, 20)), ((0, 63), (0, 20)), ((103, 0), (103, 40))]
)
def test_handles_at_the_border_of_a_picture_that_is_not_square(golden_core, golden_sample, source, target):
    sample = golden_sample("cat")
    small = replace(
        sample,
        image=sample.image[:64, :104].copy(),
        mask=sample.mask[:64, :104].copy(),
        sources=ImagePoints.of([source, (48, 32)]),
        targets=ImagePoints.of([target, (48, 32)]),
    )
    result = GoodDrag(**QUICK).edit(golden_core(), small)
    assert result.edited.shape == (1, 3, 64, 104)
    assert torch.isfinite(result.trace["optimized"]).all()
    ends = result.trajectory[-1].rc
    assert len(ends) == 2
    assert (ends >= 0).all() and (ends[:, 0] < 32).all() and (ends[:, 1] < 52).all()


def test_a_lora_changes_the_edit(golden_core, golden_sample):
    sample = golden_sample("rocket")
    settings = QUICK | {"track_per_denoise": 1}
    lora = LoraSettings(rank=2, steps=2, batch_size=2)
    with_lora = GoodDrag(**settings | {"lora": lora}).edit(golden_core(), sample)
    without = GoodDrag(**settings).edit(golden_core(), sample)
    assert not torch.equal(with_lora.edited, without.edited)


@pytest.mark.parametrize(("target", "way"), [((8.0, 20.0), 3.0), ((8.0, 10.0), 2.0)])
def test_supervision_compares_the_first_patch_with_the_one_ahead(target, way):
    # The feature is the column: ahead of a handle that stands four columns on, it is higher by those and by the way.
    settings = GoodDrag(r_m=1, beta=3.0)
    features = torch.arange(24.0).repeat(16, 1)[None, None].requires_grad_(True)
    start, current = torch.tensor([8.0, 4.0]), torch.tensor([8.0, 8.0])
    patch = features.detach()[:, :, 7:10, 3:6]
    loss = motion_supervision(features, patch, start, current, torch.tensor(target), settings)
    assert loss.item() == pytest.approx(2**2 * (4 + way))
    (gradient,) = torch.autograd.grad(loss, features)
    rows, cols = (set(places.tolist()) for places in torch.nonzero(gradient[0, 0], as_tuple=True))
    assert rows == {7, 8, 9} and cols == {int(8 + way) + offset for offset in (-1, 0, 1)}


@pytest.mark.parametrize(
    "setting",
    [
        {"beta": 0.0},
        {"drag_end_step": 0},
        {"track_per_denoise": 0},
        {"max_drag_per_track": 0},
        {"drag_loss_threshold": -0.1},
        {"max_track_no_change": 0},
        {"max_steps": 0},
        {"r1": -1},
        {"r_t": -1},
        {"latent_lr": 0.0},
    ],
)
def test_bad_settings_are_named(setting):
    with pytest.raises(ConfigError, match=f"method.{next(iter(setting))}"):
        GoodDrag(**setting)
