from __future__ import annotations

import pytest
import torch

from methods.initial_features import patch_difference, track_closer


def cell(row, col):
    return torch.tensor([float(row), float(col)])


def test_tracking_takes_no_cell_farther_from_the_target():
    features = torch.zeros(1, 2, 20, 20)
    initial = torch.zeros(1, 2, 20, 20)
    initial[0, :, 3, 3] = 6.0
    features[0, :, 12, 9] = 5.0
    # Nearer in features, but farther from the target than the handle is.
    features[0, :, 8, 9] = 6.0
    found, difference = track_closer(features, initial, cell(3, 3), cell(10, 10), cell(15, 10), r_t=3)
    assert (found.tolist(), difference) == ([12.0, 9.0], 1.0)
    found, difference = track_closer(features, initial, cell(3, 3), cell(10, 10), cell(5, 10), r_t=3)
    assert (found.tolist(), difference) == ([8.0, 9.0], 0.0)


def test_cells_just_as_far_from_the_target_count_and_the_first_of_equals_is_taken():
    flat = torch.zeros(1, 1, 9, 9)
    # √5 cells from the target, as (1, 5) and six others are.
    found, _ = track_closer(flat, flat, cell(0, 0), cell(2, 5), cell(3, 3), r_t=3)
    assert found.tolist() == [1.0, 2.0]
    still, _ = track_closer(flat, flat, cell(0, 0), cell(4, 4), cell(4, 4), r_t=3)
    assert still.tolist() == [4.0, 4.0]


def test_differences_are_means_over_channels_in_two_digits():
    initial, features = torch.zeros(1, 3, 5, 5), torch.zeros(1, 3, 5, 5)
    features[0, :, 2, 2] = torch.tensor([0.1, -0.2, 0.07])
    assert track_closer(features, initial, cell(0, 0), cell(2, 2), cell(2, 2), r_t=1)[1] == pytest.approx(0.12)


def test_the_search_is_cut_at_the_border():
    features = torch.ones(1, 1, 6, 7)
    features[0, 0, 5, 6] = 0.0
    found, _ = track_closer(features, torch.zeros(1, 1, 6, 7), cell(0, 0), cell(4, 4), cell(5, 6), r_t=3)
    assert found.tolist() == [5.0, 6.0]


def test_the_patch_ahead_is_compared_with_the_one_at_the_start():
    # Rises by one per column, and was two lower everywhere before the drag.
    features = torch.arange(16.0).repeat(16, 1)[None, None].requires_grad_(True)
    initial = features.detach() - 2
    difference = patch_difference(features, initial, cell(8, 4), cell(8, 9), torch.tensor([0.0, 0.5]), r_m=1)
    # Five columns and a half ahead of the start, and two for what was lower.
    assert difference.item() == pytest.approx(7.5)
    (gradient,) = torch.autograd.grad(difference, features)
    moved = {tuple(place) for place in torch.nonzero(gradient[0, 0]).tolist()}
    assert moved == {(row, col) for row in (7, 8, 9) for col in (8, 9, 10, 11)}


@pytest.mark.parametrize("start", [(0, 0), (8, 8), (15, 15)])
@pytest.mark.parametrize("handle", [(0, 15), (8, 8), (15, 0)])
def test_patches_are_cut_alike_at_the_border(start, handle):
    rows, cols = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    features = (3 * rows + cols)[None, None]
    difference = patch_difference(features, features, cell(*start), cell(*handle), torch.zeros(2), r_m=2)
    expected = abs(3 * (handle[0] - start[0]) + handle[1] - start[1])
    assert difference.item() == pytest.approx(expected)
