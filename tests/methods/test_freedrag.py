from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests_helpers import assert_agrees, evaluations, recorded_evaluations

import methods.freedrag
from methods.freedrag import FreeDrag, next_position, patch_at, update_template
from rotationbench.errors import ConfigError
from rotationbench.points import ImagePoints

RECORDINGS = {"rotationdrag": "freedrag", "official": "freedrag_official"}
OFFSETS = torch.tensor([-1.5, 0.0, 1.5])


@pytest.mark.parametrize("case", ["cat", "rocket"])
@pytest.mark.parametrize("variant", list(RECORDINGS))
@pytest.mark.parametrize("attention", ["unfused", "sdpa"])
def test_reproduces_the_released_programs(golden_core, golden_sample, golden_recording, case, variant, attention):
    expected, options = golden_recording(f"{case}_{RECORDINGS[variant]}")
    core = golden_core(dtype="fp64", attention=attention)
    method = FreeDrag(
        variant=variant,
        l_expected=options["l_expected"],
        d_max=options["d_max"],
        max_steps=options["n_pix_step"],
        latent_lr=options["lr"],
        lam=options["lam"],
        lora=None,
    )
    result = method.edit(core, golden_sample(case))

    # FreeDrag's own program was recorded without its trajectory.
    assert_agrees(result, expected, trajectory=variant == "rotationdrag")
    assert evaluations(core) == recorded_evaluations(expected)


def small(sample):
    """The upper left quarter with the mask there and one handle to drag."""
    return replace(
        sample,
        image=sample.image[:64, :64].copy(),
        mask=np.pad(np.ones((24, 40), dtype=bool), ((20, 20), (12, 12))),
        sources=ImagePoints.of([(24, 32)]),
        targets=ImagePoints.of([(40, 36)]),
    )


def ramp() -> torch.Tensor:
    """Features `(1, 1, 20, 40)` that equal the column, so that patches differ by the columns between them."""
    return torch.arange(40.0).repeat(20, 1)[None, None]


def placed(current, target, *, template_at, loss_ini=0.0, loss_end=0.0, l_expected=0.8, d_max=3.0):
    features = ramp()
    template = patch_at(features, torch.tensor(template_at), OFFSETS)
    point = next_position(
        features,
        template,
        torch.tensor(current),
        torch.tensor(target),
        OFFSETS,
        loss_ini=loss_ini,
        loss_end=loss_end,
        l_expected=l_expected,
        d_max=d_max,
    )
    return point.tolist()


def test_a_handle_goes_on_to_the_expected_difference():
    # Candidates lie 0.3 cells apart; 0.9 is nearer to l = 0.8 than 0.6.
    assert placed((10.0, 10.0), (10.0, 30.0), template_at=(10.0, 10.0)) == pytest.approx([10.0, 10.9])
    # Within d_max of the target they divide the way that is left.
    assert placed((10.0, 10.0), (10.0, 11.0), template_at=(10.0, 10.0)) == pytest.approx([10.0, 10.8])
    assert placed((10.0, 10.0), (10.0, 30.0), template_at=(10.0, 10.0), l_expected=50.0) == pytest.approx([10.0, 13.0])


def test_a_handle_stays_when_the_last_round_helped_but_not_enough():
    assert placed((10.0, 10.0), (10.0, 30.0), template_at=(10.0, 7.0), loss_ini=0.6, loss_end=0.5) == [10.0, 10.0]


def test_a_handle_goes_back_when_the_last_round_did_not_help():
    worse = {"loss_ini": 0.4, "loss_end": 0.5}
    # Back by 3 cells to column 7, then candidates every 0.6 cells up to column 13.
    assert placed((10.0, 10.0), (10.0, 30.0), template_at=(10.0, 8.7), **worse) == pytest.approx([10.0, 8.8])
    assert placed((10.0, 10.0), (10.0, 30.0), template_at=(10.0, 12.3), **worse) == pytest.approx([10.0, 12.4])
    # One cell before its target it goes back by one, and its candidates end at the target.
    assert placed((10.0, 10.0), (10.0, 11.0), template_at=(10.0, 20.0), **worse) == pytest.approx([10.0, 11.0])
    assert placed((10.0, 10.0), (10.0, 11.0), template_at=(10.0, 3.0), **worse) == pytest.approx([10.0, 9.2])


def test_a_handle_does_not_go_back_beyond_the_border():
    row, col = placed((10.0, 1.0), (10.0, 30.0), template_at=(10.0, 0.0), loss_ini=0.4, loss_end=0.5)
    assert row == 10.0 and 0 <= col < 1


def test_a_handle_at_its_target_has_nowhere_to_go():
    assert placed((10.0, 10.0), (10.0, 10.0), template_at=(10.0, 10.0)) == [10.0, 10.0]


def test_patches_at_the_border_repeat_it():
    patch = patch_at(ramp(), torch.tensor([0.0, 39.0]), OFFSETS)
    assert patch[0, 0].tolist() == [[37.5, 39.0, 39.0]] * 3


def test_the_template_follows_features_that_came_close():
    template, features = torch.zeros(1, 2, 3, 3), torch.ones(1, 2, 3, 3)
    for loss, weight in ((0.2, 0.5), (0.8, 0.1), (-0.4, 0.9)):
        moved = update_template(template, features, loss * 3.0, 3.0, settled=False)
        torch.testing.assert_close(moved, torch.full_like(moved, weight))
    assert torch.equal(update_template(template, features, 2.9, 3.0, settled=True), features)
    assert math.isfinite(float(update_template(template, features, 1e3, 1.0, settled=False).sum()))


def test_handles_at_their_targets_settle_at_once(golden_core, golden_sample):
    sample = small(golden_sample("rocket"))
    still = replace(sample, targets=sample.sources)
    result = FreeDrag(lora=None).edit(golden_core(), still)
    assert (result.steps, result.converged) == (1, True)
    # Features with and without gradients may differ by rounding, and Adam's first step is as long as the rate.
    assert (result.trace["optimized"] - result.trace["inverted"]).abs().max() < 0.0021


def test_the_step_limit_ends_the_drag_within_a_round(golden_core, golden_sample):
    result = FreeDrag(max_steps=3, l_expected=0.01, lora=None).edit(golden_core(), golden_sample("cat"))
    assert (result.steps, result.converged) == (3, False)
    assert len(result.trajectory) == 4


def test_the_drag_ends_eleven_steps_after_the_last_round_at_the_target(golden_core, golden_sample, monkeypatch):
    visited = []

    def there_and_away(features, template, current, target, offsets, **settings):
        visited.append(current)
        return target if len(visited) == 1 else target + 8

    monkeypatch.setattr(methods.freedrag, "next_position", there_and_away)
    sample = replace(small(golden_sample("rocket")), mask=None)
    # With so small an l no round ends early and no handle settles.
    settings = {"l_expected": 1e-4, "latent_lr": 1e-3, "lora": None}
    result = FreeDrag(**settings, max_steps=30).edit(golden_core(), sample)
    assert (result.steps, result.converged) == (16, False)
    visited.clear()
    # The arrival sets the limit anew, beyond the one that was asked for.
    assert FreeDrag(**settings, max_steps=7).edit(golden_core(), sample).steps == 16
    visited.clear()
    assert FreeDrag(**settings, max_steps=4).edit(golden_core(), sample).steps == 4
    visited.clear()
    assert FreeDrag(**settings, max_steps=16, variant="official").edit(golden_core(), sample).steps == 16


@pytest.mark.parametrize("variant", list(RECORDINGS))
def test_the_background_is_held_outside_the_mask_only(golden_core, golden_sample, variant):
    sample = small(golden_sample("rocket"))
    method = FreeDrag(variant=variant, max_steps=4, l_expected=0.3, latent_lr=0.02, lora=None)

    def optimized(mask):
        return method.edit(golden_core(), replace(sample, mask=mask)).trace["optimized"]

    without = optimized(None)
    torch.testing.assert_close(optimized(np.zeros(sample.size, dtype=bool)), without)
    torch.testing.assert_close(optimized(np.ones(sample.size, dtype=bool)), without, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(optimized(sample.mask), without, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("variant", list(RECORDINGS))
@pytest.mark.parametrize(("source", "target"), [((0, 0), (40, 40)), ((95, 63), (60, 20))])
def test_handles_at_the_border_of_a_picture_that_is_not_square(golden_core, golden_sample, variant, source, target):
    sample = golden_sample("cat")
    wide = replace(
        sample,
        image=sample.image[:64, :96].copy(),
        mask=None,
        sources=ImagePoints.of([source]),
        targets=ImagePoints.of([target]),
    )
    result = FreeDrag(variant=variant, max_steps=8, l_expected=0.3, latent_lr=0.5, lora=None).edit(golden_core(), wide)
    assert result.edited.shape == (1, 3, 64, 96)
    assert torch.isfinite(result.trace["optimized"]).all()
    path = result.trace["trajectory"]
    assert (path >= 0).all() and (path[..., 0] <= 31).all() and (path[..., 1] <= 47).all()


@pytest.mark.parametrize(
    "setting", [{"variant": "other"}, {"l_expected": 0.0}, {"d_max": -1.0}, {"lam_features": -1.0}, {"max_steps": 0}]
)
def test_bad_settings_are_named(setting):
    with pytest.raises(ConfigError, match=f"method.{next(iter(setting))}"):
        FreeDrag(**setting)
