from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests_helpers import evaluations, recorded_evaluations, relative_error

from methods.fastdrag import EMPTY, FILL_MODES, FastDrag, displacements, fill, warp
from rotationbench.errors import ConfigError
from rotationbench.points import ImagePoints


@pytest.mark.parametrize("case", ["cat", "rocket"])
@pytest.mark.parametrize("attention", ["unfused", "sdpa"])
def test_reproduces_the_released_program(golden_core, golden_sample, golden_recording, case, attention):
    expected, options = golden_recording(f"{case}_fastdrag")
    sample = golden_sample(case)
    if "points" in options:
        points = options["points"]
        sample = replace(sample, sources=ImagePoints.of(points[0::2]), targets=ImagePoints.of(points[1::2]))
    core = golden_core(dtype="fp64", attention=attention)
    method = FastDrag(
        inversion_strength=options["inversion_strength"],
        fill_mode=options["fill_mode"],
        use_kv_copy=bool(options["use_kv_copy"]),
        mask_antialias=options["mask_antialias"],
        drop_cell_at_handle=True,
    )
    result = method.edit(core, sample)
    np.testing.assert_array_equal(result.trace["came_from"].numpy(), expected["came_from"])
    np.testing.assert_array_equal(result.trace["mask_latent"].numpy(), expected["mask_latent"])
    for key in ("inverted", "optimized"):
        assert relative_error(result.trace[key], expected[key]) < 1e-5
    assert np.abs(result.edited.numpy() - expected["edited"]).max() < 1e-5
    calls, images, _ = evaluations(core)
    # The program denoises two pictures that are the same.
    assert (calls, images) == (recorded_evaluations(expected)[0], 14)


def grid(rows: int, cols: int) -> torch.Tensor:
    return torch.cartesian_prod(torch.arange(rows), torch.arange(cols)).double()


def test_a_way_fades_from_all_at_its_handle_to_nothing_on_the_circle():
    cells = grid(9, 9)
    handle, target = torch.tensor([[4.0, 4.0]]).double(), torch.tensor([[4.0, 7.0]]).double()
    moved = displacements(cells, handle, target, at_handle=True)
    along = moved[:, 1].view(9, 9)
    # The handle is the centre of a circle through the corners: shares are 1 − distance / (4·√2).
    distances = (cells - handle).norm(dim=1).view(9, 9)
    torch.testing.assert_close(along, 3 * (1 - distances / (4 * 2**0.5)), rtol=1e-4, atol=1e-5)
    assert (moved[:, 0] == 0).all()


def test_a_cell_at_a_handle_goes_all_the_way_or_as_released_nowhere():
    moves = torch.ones(5, 5, dtype=torch.bool)
    handle, target = torch.tensor([[2.0, 2.0]]).double(), torch.tensor([[2.0, 3.0]]).double()
    assert warp(moves, handle, target, drop_cell_at_handle=False)[2, 3] == 2 * 5 + 2
    assert (warp(moves, handle, target, drop_cell_at_handle=True) != 2 * 5 + 2).all()


def test_the_first_to_arrive_stays_and_cells_are_kept_on_the_latent():
    moves = torch.zeros(3, 4, dtype=torch.bool)
    moves[1] = True
    handle, target = torch.tensor([[1.0, 3.0]]).double(), torch.tensor([[1.0, 9.0]]).double()
    came_from = warp(moves, handle, target, drop_cell_at_handle=False)
    assert came_from[0].tolist() == [0, 1, 2, 3] and came_from[2].tolist() == [8, 9, 10, 11]
    assert set(came_from[1].tolist()) <= {4, 5, 6, 7, EMPTY}
    # The last three cells end in the last column, 2, 4 and 6 cells on; the first of them comes first.
    assert came_from[1, 3] == 5


def test_a_handle_outside_the_circle_widens_it():
    moved = displacements(
        grid(4, 4), torch.tensor([[20.0, 1.0]]).double(), torch.tensor([[20.0, 9.0]]).double(), at_handle=True
    )
    assert torch.isfinite(moved).all()


def test_anchors_hold_what_is_near_them():
    cells = grid(9, 9)
    handles = torch.tensor([[4.0, 2.0], [4.0, 6.0]]).double()
    free = displacements(cells, handles[:1], handles[:1] + 2, at_handle=True)
    anchored = displacements(cells, handles, torch.stack([handles[0] + 2, handles[1]]), at_handle=True)
    near_anchor = 4 * 9 + 6
    assert anchored[near_anchor].norm() < 0.01 < free[near_anchor].norm()
    assert anchored[4 * 9 + 2].norm() > 2.5


def test_empty_cells_are_filled_from_their_neighbours_in_reading_order():
    latents = torch.arange(1.0, 10.0).view(1, 1, 3, 3).double()
    came_from = torch.arange(9).view(3, 3)
    came_from[1, 1] = EMPTY
    assert fill(latents, came_from, "interpolation", torch.Generator())[0, 0, 1, 1] == (2 + 4 + 6 + 8) / 4
    came_from[1, 2] = EMPTY
    filled = fill(latents, came_from, "interpolation", torch.Generator())[0, 0]
    # To the left, above and below of (1, 1); then (1, 1) itself serves (1, 2).
    first = (4 + 2 + 8) / 3
    torch.testing.assert_close(filled[1, 1], torch.tensor(first).double())
    torch.testing.assert_close(filled[1, 2], torch.tensor((first + 3 + 9) / 3).double())
    assert fill(latents, came_from, "ori", torch.Generator()).equal(latents)
    assert fill(latents, came_from, "0", torch.Generator())[0, 0, 1].tolist() == [4, 0, 0]
    noise = fill(latents, came_from, "random", torch.Generator().manual_seed(0))[0, 0, 1, 1:]
    assert (noise >= 0).all() and (noise < 1).all()


@pytest.mark.parametrize("mode", FILL_MODES)
def test_any_size_without_a_mask_and_points_at_the_border(golden_core, golden_sample, mode):
    sample = golden_sample("cat")
    wide = replace(
        sample,
        image=sample.image[:64, :96].copy(),
        mask=None,
        sources=ImagePoints.of([(0, 0), (95, 63), (48, 32)]),
        targets=ImagePoints.of([(40, 40), (60, 20), (48, 32)]),
    )
    result = FastDrag(fill_mode=mode).edit(golden_core(), wide, seed=3)
    assert result.edited.shape == (1, 3, 64, 96)
    assert torch.isfinite(result.edited).all()
    assert result.trace["came_from"].shape == (8, 12)


def test_the_kept_keys_and_values_matter(golden_core, golden_sample):
    sample = golden_sample("cat")
    kept = FastDrag().edit(golden_core(), sample)
    own = FastDrag(use_kv_copy=False).edit(golden_core(), sample)
    torch.testing.assert_close(kept.trace["optimized"], own.trace["optimized"])
    assert not torch.allclose(kept.edited, own.edited)


@pytest.mark.parametrize("setting", [{"inversion_strength": 0.0}, {"fill_mode": "magic"}])
def test_bad_settings_are_named(setting):
    with pytest.raises(ConfigError, match=f"method.{next(iter(setting))}"):
        FastDrag(**setting)
