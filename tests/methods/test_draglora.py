from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests_helpers import COARSE_LATENT_TOLERANCE, assert_agrees, evaluations, recorded_evaluations

from methods.draglora import DragLora, Pace, denoising_target
from rotationbench.diffusion import LoraSettings
from rotationbench.diffusion.trainable_lora import trainable_lora
from rotationbench.errors import ConfigError
from rotationbench.points import ImagePoints


@pytest.mark.parametrize(("case", "attention"), [("cat", "unfused"), ("rocket", "unfused"), ("rocket", "sdpa")])
def test_reproduces_the_released_program(golden_core, golden_sample, golden_recording, case, attention):
    expected, options = golden_recording(f"{case}_draglora")
    core = golden_core(dtype="fp64", attention=attention)
    settings = {
        name: options[name]
        for name in ("inversion_strength", "lam_dds", "lora_lr", "rank", "revert_above", "adapt_below")
    }
    method = DragLora(
        max_steps=options["n_pix_step"],
        lam=options["lam_mask"],
        r_m=options["r_m"],
        r_t=options["r_p"],
        **settings,
        lora=None,
    )
    result = method.edit(core, golden_sample(case), seed=options["seed"])

    assert_agrees(result, expected, tolerance=COARSE_LATENT_TOLERANCE)
    for key in ("used", "step_index", "min_difference", "dds_timesteps"):
        np.testing.assert_array_equal(result.trace[key].numpy(), expected[key])
    np.testing.assert_allclose(result.trace["lora_norms"], expected["lora_norms"], rtol=1e-5)
    # While the LoRA rests, the program evaluates the same latent with the same weights twice in a round.
    resting = len(expected["used"]) - len(expected["dds_timesteps"])
    calls, images, grad_calls = recorded_evaluations(expected)
    assert evaluations(core) == (calls - resting, images - resting, grad_calls)


def small(sample):
    """A quarter of the picture, with a way from one corner to the other."""
    return replace(
        sample,
        image=sample.image[16:80, 48:112].copy(),
        mask=sample.mask[16:80, 48:112].copy(),
        sources=ImagePoints.of([(8, 8)]),
        targets=ImagePoints.of([(56, 56)]),
    )


def judged(pace: Pace, differences: list[float], *, tracked=((5, 5), (9, 9)), aims=((0, 0), (0, 0))):
    before = torch.tensor([[4.0, 4.0], [8.0, 8.0]])
    return pace.judge(before, torch.tensor(tracked).float(), differences, torch.tensor(aims).float()).tolist()


def test_lost_handles_go_back_three_times_and_then_are_believed():
    pace = Pace(DragLora())
    for step in (5, 4, 3):
        pace.step = step
        assert judged(pace, [1.4, 0.3]) == [[4, 4], [9, 9]]
        assert pace.step == step - 1
    assert judged(pace, [1.4, 1.5]) == [[5, 5], [9, 9]]
    assert judged(pace, [1.4, 1.5]) == [[4, 4], [8, 8]]


def test_a_round_without_lost_handles_starts_the_count_again():
    pace = Pace(DragLora())
    pace.step = 5
    for _ in range(2):
        judged(pace, [1.4, 0.3])
    assert judged(pace, [1.3, 0.3]) == [[5, 5], [9, 9]]
    for _ in range(3):
        assert judged(pace, [1.4, 0.3]) == [[4, 4], [9, 9]]


def test_the_lora_rests_once_the_handles_follow():
    near = ((5, 5.9), (9, 9.9))
    pace = Pace(DragLora())
    pace.step = 10
    judged(pace, [0.9, 1.2], aims=near)
    assert not pace.adapting
    pace.step = 11
    judged(pace, [1.0, 1.2], aims=near)
    assert not pace.adapting
    # Both are 0.9 from their aims, together 1.27; the differences of the others do not matter.
    judged(pace, [0.9, 2.0], aims=near)
    assert pace.adapting and pace.step == 11


def test_far_from_their_aims_handles_neither_rest_nor_go_back():
    pace = Pace(DragLora())
    pace.step = 11
    assert judged(pace, [0.9, 2.0], aims=((5, 7), (9, 9))) == [[5, 5], [9, 9]]
    assert not pace.adapting and pace.step == 11


def test_the_lora_works_again_when_handles_are_lost_stand_still_or_take_too_long():
    still = ((4, 4), (8, 8))

    def resting(**settings) -> Pace:
        pace = Pace(DragLora(**settings))
        pace.step = 11
        judged(pace, [0.5, 0.5], aims=((5, 5), (9, 9)))
        assert pace.adapting
        return pace

    pace = resting()
    judged(pace, [1.2, 5.0])
    assert pace.adapting
    assert judged(pace, [1.4, 1.5]) == [[5, 5], [9, 9]]
    assert not pace.adapting

    pace = resting()
    rounds = 0
    while pace.adapting:
        # Every other round moves.
        judged(pace, [0.5, 0.5], tracked=still if rounds % 2 else ((5, 5), (9, 9)))
        rounds += 1
    assert rounds == 12

    pace = resting(max_adapt_rounds=3)
    for adapting in (True, True, False):
        judged(pace, [0.5, 0.5])
        assert pace.adapting is adapting


def test_the_drag_ends_though_adapt_mode_would_not(golden_core, golden_sample):
    """Every handle is near enough and never lost, so that the LoRA rests whenever it may."""
    method = DragLora(max_steps=13, adapt_below=100.0, revert_above=100.0, max_adapt_rounds=2, lora_lr=1e-9, lora=None)
    result = method.edit(golden_core(), replace(small(golden_sample("rocket")), mask=None))
    assert result.steps == 13
    # Thirteen updates, and two rounds of rest before each of the last two.
    assert 13 <= len(result.trace["used"]) <= 17


@torch.no_grad()
def test_a_lora_without_effect_is_held_back_by_nothing(golden_core, golden_sample):
    core = golden_core(dtype="fp64")
    context = core.embed("")
    x0 = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with trainable_lora(core, 4, torch.Generator().manual_seed(0)) as lora:
        wanted, timestep = denoising_target(core, lora, x0, context, torch.Generator().manual_seed(3))
        torch.testing.assert_close(wanted, x0, rtol=0, atol=1e-12)
        for parameter in lora.parameters:
            parameter.data += 0.05
        moved, again = denoising_target(core, lora, x0, context, torch.Generator().manual_seed(3))
        assert timestep == again
        draws = torch.Generator().manual_seed(3)
        noise = torch.randn(1, 4, 16, 16, generator=draws).double()
        assert timestep == int(torch.randint(0, 1000, (1,), generator=draws))
        alpha = core.alphas[timestep]
        noised = alpha.sqrt() * x0 + (1 - alpha).sqrt() * noise
        after = core.noise(noised, timestep, context)
    torch.testing.assert_close(moved, x0 - (1 - alpha) * (core.noise(noised, timestep, context) - after))


def test_the_picture_s_lora_is_where_the_drag_starts(golden_core, golden_sample):
    sample = small(golden_sample("rocket"))
    settings = LoraSettings(rank=2, lr=1e-2, steps=3, batch_size=1)
    core = golden_core()
    names = list(core.unet.state_dict())
    with_lora = DragLora(max_steps=1, lora=settings).edit(core, sample)
    assert list(core.unet.state_dict()) == names
    assert not any(parameter.requires_grad for parameter in core.unet.parameters())
    without = DragLora(max_steps=1, lora=None).edit(core, sample)
    assert list(core.unet.state_dict()) == names
    assert with_lora.trace["lora_norms"].shape == without.trace["lora_norms"].shape == (128, 2)
    # One cell is left in the mid block, whose queries and keys then have nothing to choose between.
    assert (with_lora.trace["lora_norms"][:, 1] > 1e-2).sum() == 126
    assert not torch.equal(with_lora.edited, without.edited)


def test_without_a_mask_the_whole_latent_adapts(golden_core, golden_sample):
    sample = small(golden_sample("rocket"))
    method = DragLora(max_steps=2, lora=None)
    without = method.edit(golden_core(), replace(sample, mask=None))
    empty = method.edit(golden_core(), replace(sample, mask=np.zeros(sample.size, dtype=bool)))
    held = method.edit(golden_core(), sample)
    assert torch.equal(without.edited, empty.edited)
    changed = (without.trace["optimized"] != without.trace["inverted"]).any(dim=1)
    assert changed.all()
    mask = torch.from_numpy(sample.mask)[::8, ::8]
    assert torch.equal((held.trace["optimized"] != held.trace["inverted"]).any(dim=1)[0], mask)


def test_seeds_decide_and_the_default_is_the_released_one(golden_core, golden_sample):
    sample, method = small(golden_sample("rocket")), DragLora(max_steps=1, lora=None)
    default = method.edit(golden_core(), sample)
    assert torch.equal(default.edited, method.edit(golden_core(), sample, seed=42).edited)
    assert not torch.equal(default.edited, method.edit(golden_core(), sample, seed=0).edited)


def test_a_drag_that_is_there_already_ends_at_once(golden_core, golden_sample):
    sample = golden_sample("rocket")
    result = DragLora(max_steps=5, lora=None).edit(golden_core(), replace(sample, targets=sample.sources))
    assert (result.steps, result.converged) == (0, True)
    assert result.trace["trajectory"].shape == (0, 1, 2)
    assert result.trace["min_difference"].shape == (0, 1)
    torch.testing.assert_close(result.trace["optimized"], result.trace["inverted"], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("source", "target"), [((0, 0), (40, 40)), ((103, 63), (60, 20)), ((0, 63), (0, 20)), ((103, 0), (103, 40))]
)
def test_handles_at_the_border_of_a_picture_that_is_not_square(golden_core, golden_sample, source, target):
    sample = golden_sample("cat")
    wide = replace(
        sample,
        image=sample.image[:64, :104].copy(),
        mask=sample.mask[:64, :104].copy(),
        sources=ImagePoints.of([source, (48, 32)]),
        targets=ImagePoints.of([target, (48, 32)]),
    )
    result = DragLora(max_steps=3, lora_lr=1e-2, lora=None).edit(golden_core(), wide)
    assert result.edited.shape == (1, 3, 64, 104)
    assert torch.isfinite(result.trace["optimized"]).all()
    ends = result.trajectory[-1].rc
    assert (ends >= 0).all() and (ends[:, 0] < 32).all() and (ends[:, 1] < 52).all()
    # The pivot pair held still.
    assert (result.trace["trajectory"][:, 1] == torch.tensor([16.0, 24.0])).all()


@pytest.mark.parametrize(
    "setting",
    [
        {"max_steps": 0},
        {"lora_lr": 0.0},
        {"lam_dds": -1.0},
        {"inversion_strength": 0.0},
        {"feature_index": 5},
        {"revert_above": -0.1},
        {"max_adapt_rounds": 0},
        {"rank": 0},
    ],
)
def test_bad_settings_are_named(setting):
    with pytest.raises(ConfigError, match=f"method.{next(iter(setting))}"):
        DragLora(**setting)
