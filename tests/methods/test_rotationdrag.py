from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests_helpers import assert_agrees, compose_config, evaluations, recorded_evaluations

from methods.rotation_axis import rotation_axes
from methods.rotationdrag import RotatedReferences, RotationDrag, same_direction, turn
from rotationbench.config import build_method
from rotationbench.errors import ConfigError
from rotationbench.points import ImagePoints

DIRECTIONS = {"released": "released", "corrected": "paper"}
RECORDINGS = [
    "cat_rotationdrag_released",
    "cat_rotationdrag_corrected",
    "rocket_rotationdrag_released",
    "rocket_rotationdrag_corrected",
    "cat2_rotationdrag_released",
]


@pytest.mark.parametrize("recording", RECORDINGS)
@pytest.mark.parametrize("attention", ["unfused", "sdpa"])
def test_reproduces_the_released_program(golden_core, golden_sample, golden_recording, recording, attention):
    expected, options = golden_recording(recording)
    case, _, direction = recording.split("_")
    # Derived axes are given as recorded: of cat2's two handles the second has one.
    derived = {"cat": None, "rocket": expected["axis"], "cat2": expected["axis"][1:]}[case]
    core = golden_core(dtype="fp64", attention=attention)
    method = RotationDrag(
        max_steps=options["n_pix_step"],
        latent_lr=options["lr"],
        lam=options["lam"],
        rotation=DIRECTIONS[direction],
        pivot_assignment="in_order",
        lora=None,
    )
    result = method.edit(core, golden_sample(case, axis=derived))

    assert_agrees(result, expected)
    np.testing.assert_array_equal(result.trace["axis"].numpy(), expected["axis"])
    # The program inverts a picture per handle and round of tracking; here each angle is inverted once, in batches.
    calls, images, with_gradient = evaluations(core)
    recorded_calls, recorded_images, recorded_with_gradient = recorded_evaluations(expected)
    assert calls <= recorded_calls and images <= recorded_images
    assert with_gradient == recorded_with_gradient


@pytest.mark.parametrize(("case", "recording"), [("rocket", "rocket_rotationdrag_released"), ("cat2", RECORDINGS[4])])
def test_derives_the_recorded_axis(golden_sample, golden_recording, case, recording):
    expected, _ = golden_recording(recording)
    derived = rotation_axes(golden_sample(case), pivot_assignment="in_order").rc.numpy()
    # Lines are rasterised in several ways; they differ by a cell.
    assert np.abs(derived - expected["axis"]).max() <= 2


def test_the_same_direction_is_decided_on_whole_cells():
    # Every pair of collinear spokes of a grid: angles in float32 tell 558 of 924 such pairs apart rightly.
    spokes = [(row, col) for row in range(-6, 7) for col in range(-6, 7) if (row, col) != (0, 0)]
    pairs = [(a, b) for a in spokes for b in spokes]
    handles = torch.tensor([a for a, _ in pairs], dtype=torch.float32) + 20
    targets = torch.tensor([b for _, b in pairs], dtype=torch.float32) + 20
    found = same_direction(handles, targets, torch.full_like(handles, 20))

    def lowest(row, col):
        divisor = math.gcd(row, col)
        return row // divisor, col // divisor

    expected = torch.tensor([lowest(*a) == lowest(*b) for a, b in pairs])
    assert torch.equal(found, expected)
    on_the_axis = torch.tensor([[20.0, 20.0]])
    assert not same_direction(on_the_axis, on_the_axis + 3, on_the_axis).any()


def references(core, sample, **settings):
    handles = sample.sources.to_grid(sample.size)
    image = core.image_tensor(sample.image)
    return RotatedReferences(core, image, core.embed(sample.prompt), 8, handles, RotationDrag(**settings))


def test_every_angle_is_inverted_once_and_together(golden_core, golden_sample):
    core = golden_core()
    exact = references(core, golden_sample("cat"))
    first = exact.at([12.0, -40.0, 12.0])
    # Eight steps of inversion and one early exit, for both angles in one batch.
    assert sum(phase.unet_calls for phase in core.cost.phases.values()) == 9
    assert sum(phase.unet_images for phase in core.cost.phases.values()) == 18
    exact.at([-40.0])
    assert sum(phase.unet_calls for phase in core.cost.phases.values()) == 9
    torch.testing.assert_close(first[0], first[2], rtol=0, atol=0)
    alone = references(golden_core(), golden_sample("cat")).at([-40.0])[0]
    torch.testing.assert_close(first[1], alone, rtol=1e-4, atol=1e-4)


def test_the_bank_answers_with_its_nearest_angle(golden_core, golden_sample):
    core = golden_core()
    bank = references(core, golden_sample("rocket"), rotation_bank=3.0, rotation_batch=64)
    bank.fill([25.0])
    filled = sum(phase.unet_calls for phase in core.cost.phases.values())
    assert filled == 9
    found = bank.at([10.4, 24.9])
    assert sum(phase.unet_calls for phase in core.cost.phases.values()) == filled
    exact = references(golden_core(), golden_sample("rocket")).at([9.0, 24.0])
    torch.testing.assert_close(found[0], exact[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found[1], exact[1], rtol=1e-4, atol=1e-4)


def test_the_bank_grows_in_batches_beyond_the_expected_arc(golden_core, golden_sample):
    core = golden_core()
    bank = references(core, golden_sample("rocket"), rotation_bank=5.0, rotation_batch=8)
    bank.fill([20.0])
    before = sum(phase.unet_calls for phase in core.cost.phases.values())
    bank.at([-31.0])
    bank.at([-36.0])
    bank.at([-22.0])
    assert sum(phase.unet_calls for phase in core.cost.phases.values()) == before + 9


def evaluations_of(core):
    return sum(phase.unet_calls for phase in core.cost.phases.values())


@pytest.mark.parametrize("settings", [{"rotation_step": 3.0}, {"rotation_bank": "auto"}])
def test_a_step_rounds_angles_and_inverts_none_ahead(golden_core, golden_sample, settings):
    core = golden_core(dtype="fp64")
    rounded = references(core, golden_sample("rocket"), **settings)
    found = rounded.at([10.4, 25.1, 9.7])
    # Both multiples in one batch.
    assert evaluations_of(core) == 9
    exact = references(golden_core(dtype="fp64"), golden_sample("rocket")).at([9.0, 24.0])
    for index, expected in enumerate((exact[0], exact[1], exact[0])):
        torch.testing.assert_close(found[index], expected, rtol=1e-9, atol=1e-9)
    rounded.at([23.0, 8.0])
    assert evaluations_of(core) == 9
    rounded.at([-9.0])
    assert evaluations_of(core) == 18


def test_auto_inverts_ahead_where_batches_pay():
    auto = RotationDrag(rotation_bank="auto")
    assert auto.spacing() == 3.0 and RotationDrag(rotation_bank="auto", rotation_step=5.0).spacing() == 5.0
    assert auto.inverts_ahead(torch.device("cuda")) and not auto.inverts_ahead(torch.device("cpu"))
    assert RotationDrag(rotation_bank=3).inverts_ahead(torch.device("cpu"))
    assert RotationDrag().spacing() is None and not RotationDrag().inverts_ahead(torch.device("cuda"))


@pytest.mark.parametrize("value", ["null", "auto", "3", "2.5"])
def test_the_bank_is_set_by_a_number_or_by_name(value):
    method = build_method(compose_config("method=rotationdrag", f"method.rotation_bank={value}").method)
    assert method.rotation_bank == {"null": None, "auto": "auto", "3": 3, "2.5": 2.5}[value]


def test_a_coarse_inversion_takes_as_many_evaluations_as_it_is_told(golden_core, golden_sample):
    found = {}
    for steps in (None, 8, 3, 20):
        core = golden_core(dtype="fp64")
        found[steps] = references(core, golden_sample("cat"), rotation_inversion_steps=steps).at([20.0])[0]
        assert evaluations_of(core) == {None: 9, 8: 9, 3: 4, 20: 9}[steps]
    for steps in (8, 20):
        torch.testing.assert_close(found[steps], found[None], rtol=0, atol=0)
    assert not torch.allclose(found[3], found[None])


def test_an_edit_with_auto_on_a_cpu_has_no_bank(golden_core, golden_sample):
    core = golden_core()
    method = RotationDrag(max_steps=4, latent_lr=0.05, min_angle=0.0, lora=None, rotation_bank="auto")
    method.edit(core, golden_sample("rocket"))
    assert "bank" not in core.cost.phases


def test_the_two_directions_differ(golden_core, golden_sample):
    sample = golden_sample("cat")
    paper = RotationDrag(max_steps=6, latent_lr=0.05, lora=None).edit(golden_core(), sample)
    released = RotationDrag(max_steps=6, latent_lr=0.05, lora=None, rotation="released").edit(golden_core(), sample)
    assert not torch.equal(paper.trace["trajectory"], released.trace["trajectory"])


def quarter_disc_points() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor([32.0, 42.0]), torch.tensor([32.0, 32.0])


def test_turns_are_clockwise_on_the_screen_and_wrapped():
    start, axis = quarter_disc_points()
    assert turn(torch.tensor([42.0, 32.0]), start, axis) == pytest.approx(90)
    assert turn(torch.tensor([22.0, 32.0]), start, axis) == pytest.approx(-90)
    # From just below the −x axis to just above it the raw difference of two atan2 is almost 360°.
    assert turn(torch.tensor([31.0, 22.0]), torch.tensor([33.0, 22.0]), axis) == pytest.approx(11.42, abs=0.01)
    assert turn(axis, start, axis) == 0
    assert turn(start, axis, axis) == 0


@pytest.mark.parametrize("direction", ["paper", "released"])
@pytest.mark.parametrize("angle", [30.0, -75.0, 160.0])
@pytest.mark.parametrize("size", [(128, 128), (128, 176), (192, 128)])
def test_the_rotated_picture_holds_the_handle_at_the_rotated_cell(golden_core, size, direction, angle):
    """The cell that is read in the rotated picture shows what the handle shows in the source picture."""
    core = golden_core()
    image = torch.full((1, 3, *size), -1.0)
    # A bright square of 12 px around the handle, 24 px to the right of the centre and 4 px above it.
    row, col = size[0] // 2 - 4, size[1] // 2 + 24
    image[:, :, row - 6 : row + 6, col - 6 : col + 6] = 1.0
    handles = ImagePoints.of([(col, row)]).to_grid(size)
    in_source = RotatedReferences(core, image, core.embed(""), 8, handles, RotationDrag(rotation=direction))
    rotated = in_source._rotated_picture(angle)
    found = in_source._rotated_cells(angle, size[0] // 2, size[1] // 2)[0]
    assert rotated[0, 0, 2 * found[0], 2 * found[1]] == 1.0
    clockwise = np.radians(angle if direction == "paper" else -angle)
    across, down = 12, -2
    expected = np.array(
        [np.sin(clockwise) * across + np.cos(clockwise) * down, np.cos(clockwise) * across - np.sin(clockwise) * down]
    )
    np.testing.assert_allclose(found, np.array(size) // 4 + expected, atol=1)


@pytest.mark.parametrize("angle", [90.0, -90.0])
def test_a_cell_that_leaves_the_rotated_picture_is_kept_on_its_border(golden_core, angle):
    """The ends of a wide picture turn out of it; their cells must be on the grid all the same."""
    core = golden_core()
    size = (64, 128)
    handles = ImagePoints.of([(2, 2), (126, 60)]).to_grid(size)
    image = torch.zeros(1, 3, *size)
    references = RotatedReferences(core, image, core.embed(""), 8, handles, RotationDrag())
    cells = references._rotated_cells(angle, 32, 64)
    assert (cells >= 0).all() and (cells < torch.tensor([32, 64])).all()
    assert set(cells[:, 0].tolist()) <= {0, 31}


def test_a_handle_on_its_pivot_is_dragged_like_any_other(golden_core, golden_sample):
    sample = replace(
        golden_sample("cat"),
        sources=ImagePoints.of([(64, 64), (64.4, 64)]),
        targets=ImagePoints.of([(64, 64), (90, 64)]),
    )
    result = RotationDrag(max_steps=3, lora=None).edit(golden_core(), sample)
    assert torch.isfinite(result.trace["optimized"]).all()


def test_a_picture_that_is_not_square_with_a_handle_in_the_corner(golden_core, golden_sample):
    sample = golden_sample("cat")
    wide = replace(
        sample,
        image=sample.image[:64].copy(),
        mask=sample.mask[:64].copy(),
        sources=ImagePoints.of([(127, 0)]),
        targets=ImagePoints.of([(100, 40)]),
    )
    result = RotationDrag(max_steps=4, latent_lr=0.05, min_angle=0.0, lora=None).edit(golden_core(), wide)
    assert result.edited.shape == (1, 3, 64, 128)
    ends = result.trajectory[-1].rc
    assert (ends >= 0).all() and (ends[:, 0] < 32).all() and (ends[:, 1] < 64).all()


def test_the_released_background_freezes_a_picture_without_a_mask(golden_core, golden_sample):
    sample = replace(golden_sample("rocket"), mask=None)
    settings = {"max_steps": 5, "latent_lr": 0.05, "lora": None}
    free = RotationDrag(**settings).edit(golden_core(), sample)
    frozen = RotationDrag(**settings, background_without_mask=True, lam=10.0).edit(golden_core(), sample)

    def moved(result):
        return float((result.trace["optimized"] - result.trace["inverted"]).norm())

    assert moved(frozen) < moved(free)


@pytest.mark.parametrize(
    "setting",
    [
        {"rotation": "left"},
        {"pivot_assignment": "any"},
        {"min_angle": -1.0},
        {"rotation_bank": 0.0},
        {"rotation_bank": "always"},
        {"rotation_batch": 0},
        {"rotation_step": 0.0},
        {"rotation_step": 3.0, "rotation_bank": 3.0},
        {"rotation_inversion_steps": 0},
    ],
)
def test_bad_settings_are_named(setting):
    with pytest.raises(ConfigError, match=f"method.{next(iter(setting))}"):
        RotationDrag(**setting)
