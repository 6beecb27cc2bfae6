from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests_helpers import relative_error

from methods.sde_drag import (
    SdeDrag,
    copy_and_paste,
    drag_once,
    drag_ways,
    latent_cells,
    latent_mask,
    number_of_drags,
    scales,
    squares,
)
from rotationbench.diffusion import LoraSettings
from rotationbench.errors import ConfigError
from rotationbench.points import ImagePoints


@pytest.mark.parametrize("case", ["cat", "rocket", "cat2", "cat3"])
@pytest.mark.parametrize("attention", ["unfused", "sdpa"])
def test_reproduces_the_released_program(golden_core, golden_sample, golden_recording, case, attention):
    expected, options = golden_recording(f"{case}_sdedrag")
    core = golden_core(dtype="fp64", attention=attention)
    result = SdeDrag(steps=options["steps"], lora=None).edit(core, golden_sample(case), seed=options["seed"])
    assert result.trace["latents"].shape == expected["latents"].shape
    # Scalar code draws float32 normals that differ by 1e-6 from vector code.
    for key in ("init_latent", "latents"):
        assert relative_error(result.trace[key], expected[key]) < 1e-5
    truncated = (result.edited[0].permute(1, 2, 0) * 255).to(torch.uint8).numpy()
    assert np.abs(truncated.astype(int) - expected["edited"]).max() <= 1
    # Each drag: 12 of 20 steps, the current and the recorded latent, each with and without the prompt.
    drags = len(expected["latents"])
    assert (core.cost.phases["drag"].unet_calls, core.cost.phases["drag"].unet_images) == (12 * drags, 48 * drags)
    assert result.converged is None


@pytest.mark.parametrize(
    ("longest", "drags"), [(0.0, 1), (1.5, 1), (2.0, 1), (2.5, 1), (3.0, 2), (4.4, 2), (5.0, 3), (20.0, 10)]
)
def test_the_number_of_drags_brings_each_nearest_to_the_step(longest, drags):
    # 2.5: one of 2.5 or two of 1.25; 3: one of 3 or two of 1.5; 5: two of 2.5 or three of 1.67.
    assert number_of_drags(longest, step_size=2.0) == drags


def test_a_way_is_cut_into_whole_cells_towards_the_source():
    # √34 = 5.83 cells in three drags: −5/3 and −10/3 rows, 1 and 2 columns.
    ways = drag_ways(np.array([[10, 4], [0, 0]]), np.array([[5, 7], [0, 1]]), step_size=2.0)
    assert [start.tolist() for start, _ in ways] == [[[10, 4], [0, 0]], [[9, 5], [0, 0]], [[7, 6], [0, 0]]]
    assert [end.tolist() for _, end in ways] == [[[9, 5], [0, 0]], [[7, 6], [0, 0]], [[5, 7], [0, 1]]]
    assert drag_ways(np.zeros((0, 2), dtype=int), np.zeros((0, 2), dtype=int), 2.0) == []


def test_points_belong_to_the_cell_that_holds_them():
    points = ImagePoints.of([(7.9, 8), (127, 63), (500, -3)])
    assert latent_cells(points, 8, (8, 16)).tolist() == [[1, 0], [7, 15], [0, 15]]


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        (8, 7, ((3, 13), (2, 12))),
        (8, 2, ((6, 13), (0, 7))),
        (14, 8, ((9, 15), (3, 9))),
        (0, 15, ((0, 0), (15, 15))),
    ],
)
def test_squares_are_cut_alike_at_the_border(source, target, expected):
    found = squares(source, target, radius=5, size=16)
    assert tuple((part.start, part.stop) for part in found) == expected


def test_squares_are_pasted_one_after_another():
    settings = SdeDrag(radius=2, alpha=1.5, beta=0.6, lora=None)
    latents = torch.randn(1, 4, 12, 12, generator=torch.Generator().manual_seed(5))
    before = latents.clone()
    sources, targets = np.array([[4, 4], [4, 7]]), np.array([[4, 7], [8, 7]])
    moved = copy_and_paste(latents, sources, targets, settings, torch.Generator().manual_seed(9))
    assert torch.equal(latents, before)

    noise = torch.Generator().manual_seed(9)
    expected = before.numpy().copy()
    for (row, col), (to_row, to_col) in zip(sources, targets, strict=True):
        content = expected[:, :, row - 2 : row + 2, col - 2 : col + 2].copy()
        fresh = torch.randn(1, 4, 4, 4, generator=noise).numpy()
        expected[:, :, row - 2 : row + 2, col - 2 : col + 2] = 0.6 * content + 0.8 * fresh
        expected[:, :, to_row - 2 : to_row + 2, to_col - 2 : to_col + 2] = 1.5 * content
    np.testing.assert_allclose(moved.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_the_scales_run_from_one_to_their_settings():
    settings = SdeDrag(guidance_scale=3.0, lora_scale_min=0.5)
    assert scales(5, 11, settings) == pytest.approx((2.0, 0.75))
    assert scales(10, 11, settings) == pytest.approx((3.0, 0.5))
    # The noisiest level lies one beyond.
    assert scales(11, 11, settings)[0] == pytest.approx(3.2)


@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
def test_without_a_square_the_recorded_noise_leads_back_exactly(golden_core, golden_sample, guidance_scale):
    core, sample = golden_core(), golden_sample("cat")
    generator = torch.Generator().manual_seed(0)
    latents = core.sample_posterior(core.image_tensor(sample.image), generator)
    nowhere = np.zeros((0, 2), dtype=int)
    context = torch.cat([core.embed(""), core.embed(sample.prompt)])
    settings = SdeDrag(steps=10, guidance_scale=guidance_scale, lora=None)
    with torch.no_grad():
        back = drag_once(core, latents, context, nowhere, nowhere, None, settings, generator)
    torch.testing.assert_close(back, latents, rtol=1e-3, atol=1e-4)


def small(sample):
    """The lower right quarter, without a mask, with a way of two cells."""
    return replace(
        sample,
        image=sample.image[64:, 64:].copy(),
        mask=None,
        sources=ImagePoints.of([(24, 32)]),
        targets=ImagePoints.of([(40, 32)]),
    )


def long_way(sample):
    """The upper half, without a mask, with a way of six cells."""
    return replace(
        sample,
        image=sample.image[:64].copy(),
        mask=None,
        sources=ImagePoints.of([(32, 40)]),
        targets=ImagePoints.of([(80, 40)]),
    )


def test_a_long_way_is_several_drags_of_which_the_first_stands_alone(golden_core, golden_sample):
    # Six cells in three drags of two cells.
    sample = long_way(golden_sample("rocket"))
    method = SdeDrag(steps=10, lora=None)
    result = method.edit(golden_core(), sample, seed=7)
    assert result.steps == 3
    assert result.trace["latents"].shape == (3, 4, 8, 16)
    assert [points.rc.tolist() for points in result.trajectory] == [[[20, 16]], [[20, 24]], [[20, 32]], [[20, 40]]]
    first = method.edit(golden_core(), replace(sample, targets=ImagePoints.of([(48, 40)])), seed=7)
    torch.testing.assert_close(first.trace["latents"], result.trace["latents"][:1])


def test_outside_the_mask_every_drag_leaves_the_latent_as_it_was(golden_core, golden_sample):
    sample = long_way(golden_sample("rocket"))
    mask = np.zeros(sample.size, dtype=bool)
    mask[16:56, 8:104] = True
    result = SdeDrag(steps=10, lora=None).edit(golden_core(), replace(sample, mask=mask))
    start, end = result.trace["init_latent"], result.trace["latents"][-1:]
    assert torch.equal(end[:, :, :1], start[:, :, :1])
    assert torch.equal(end[..., 14:], start[..., 14:])
    assert not torch.allclose(end[:, :, 3:6, 2:12], start[:, :, 3:6, 2:12])


def test_the_mask_is_resized_with_antialiasing(golden_sample):
    sample = golden_sample("rocket")
    mask = np.zeros(sample.size, dtype=bool)
    mask[:, :69] = True
    # The ninth column of cells, pixels 64 to 71, is covered by five eighths, the next not at all.
    resized = latent_mask(replace(sample, mask=mask), (16, 16), torch.device("cpu"))
    assert resized[:, :9].all() and not resized[:, 9:].any()


def test_an_empty_mask_is_no_mask(golden_core, golden_sample):
    sample = small(golden_sample("rocket"))
    method = SdeDrag(steps=6, lora=None)
    empty = method.edit(golden_core(), replace(sample, mask=np.zeros(sample.size, dtype=bool)))
    without = method.edit(golden_core(), replace(sample, mask=None))
    assert torch.equal(empty.edited, without.edited)


def test_pivot_pairs_are_dropped(golden_core, golden_sample):
    sample = small(golden_sample("rocket"))
    method = SdeDrag(steps=6, lora=None)
    with_pivot = replace(
        sample,
        sources=ImagePoints(np.concatenate([[[20, 50]], sample.sources.xy])),
        targets=ImagePoints(np.concatenate([[[20, 50]], sample.targets.xy])),
    )
    result = method.edit(golden_core(), with_pivot)
    assert torch.equal(result.edited, method.edit(golden_core(), sample).edited)
    assert len(result.targets) == 1
    only_pivot = method.edit(golden_core(), replace(sample, targets=sample.sources))
    assert only_pivot.steps == 0
    assert only_pivot.trace["latents"].shape == (0, 4, 8, 8)


def test_seeds_decide_and_the_default_is_the_released_one(golden_core, golden_sample):
    sample, method = small(golden_sample("rocket")), SdeDrag(steps=6, lora=None)
    default = method.edit(golden_core(), sample)
    assert torch.equal(default.edited, method.edit(golden_core(), sample, seed=1234).edited)
    assert not torch.equal(default.edited, method.edit(golden_core(), sample, seed=0).edited)


def test_a_lora_fades_towards_the_noise(golden_core, golden_sample):
    sample = small(golden_sample("rocket"))
    lora = LoraSettings(rank=4, lr=1e-2, steps=3, batch_size=1, crop="full")
    core = golden_core()
    names = list(core.unet.state_dict())
    kept = SdeDrag(steps=6, lora=lora, lora_scale_min=1.0).edit(core, sample)
    faded = SdeDrag(steps=6, lora=lora, lora_scale_min=0.0).edit(golden_core(), sample)
    without = SdeDrag(steps=6, lora=None).edit(golden_core(), sample)
    assert list(core.unet.state_dict()) == names
    assert not torch.equal(kept.edited, faded.edited)
    assert not torch.equal(kept.edited, without.edited)


@pytest.mark.parametrize(("source", "target"), [((0, 0), (40, 40)), ((95, 63), (60, 20)), ((0, 63), (95, 0))])
def test_points_at_the_border_of_a_picture_that_is_not_square(golden_core, golden_sample, source, target):
    sample = golden_sample("cat")
    wide = replace(
        sample,
        image=sample.image[:64, :96].copy(),
        mask=None,
        sources=ImagePoints.of([source, (48, 32)]),
        targets=ImagePoints.of([target, (60, 32)]),
    )
    result = SdeDrag(steps=6, lora=None).edit(golden_core(), wide)
    assert result.edited.shape == (1, 3, 64, 96)
    assert torch.isfinite(result.trace["latents"]).all()


@pytest.mark.parametrize(
    "setting",
    [
        {"steps": 2},
        {"t0": 0.0},
        {"t0": 1.0},
        {"t0": 0.005},
        {"guidance_scale": 0.5},
        {"step_size": 0.0},
        {"radius": 0},
        {"alpha": -1.0},
        {"beta": 1.5},
        {"lora_scale_min": -0.1},
    ],
)
def test_bad_settings_are_named(setting):
    with pytest.raises(ConfigError, match=f"method.{next(iter(setting))}"):
        SdeDrag(**setting)


def test_the_share_of_steps_is_free_of_rounding_errors():
    # 0.29 · 100 is 28.999999999999996 in floating point.
    assert SdeDrag(steps=100, t0=0.29).noising_steps == 29
    assert SdeDrag().noising_steps == 120
