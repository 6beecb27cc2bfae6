from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from methods.rotation_axis import derived_axis, rotation_axes
from rotationbench.points import ImagePoints


def disc(rows: int, cols: int, centre: tuple[int, int], radius: int) -> np.ndarray:
    row, col = np.ogrid[:rows, :cols]
    return (row - centre[0]) ** 2 + (col - centre[1]) ** 2 <= radius**2


def test_the_axis_is_the_far_side_of_the_mask_across_the_drag():
    mask = disc(64, 64, (32, 32), 20)
    # Dragged to the right from the top of the disc: the axis lies straight below, just inside the far side.
    axis = derived_axis(mask, torch.tensor([16.0, 32.0]), torch.tensor([0.0, 5.0]))
    assert axis[1] == 32 and 50 <= axis[0] <= 52
    sideways = derived_axis(mask, torch.tensor([32.0, 16.0]), torch.tensor([5.0, 0.0]))
    assert sideways[0] == 32 and 50 <= sideways[1] <= 52


def test_the_axis_stays_in_the_component_of_its_handle():
    mask = disc(64, 128, (32, 28), 20) | disc(64, 128, (32, 98), 20)
    axis = derived_axis(mask, torch.tensor([32.0, 90.0]), torch.tensor([5.0, 0.0]))
    assert axis[1] > 98 and mask[int(axis[0]), int(axis[1])]


def test_a_handle_outside_every_component_belongs_to_the_nearest():
    mask = disc(64, 128, (32, 28), 15) | disc(64, 128, (32, 98), 15)
    axis = derived_axis(mask, torch.tensor([32.0, 64.0]), torch.tensor([3.0, 0.0]))
    assert mask[int(axis[0]), int(axis[1])]
    # Beyond the right end the line across the drag misses the component: its centre is taken.
    missed = derived_axis(mask, torch.tensor([5.0, 126.0]), torch.tensor([0.0, 3.0]))
    assert missed.tolist() == pytest.approx([32, 98], abs=1)


@pytest.mark.parametrize("mask", [np.zeros((30, 40), dtype=bool), np.ones((30, 40), dtype=bool)])
def test_an_empty_or_full_mask_implies_the_centre(mask):
    assert derived_axis(mask, torch.tensor([3.0, 3.0]), torch.tensor([1.0, 0.0])).tolist() == [15, 20]


def test_pivots_serve_all_handles_or_one_each(golden_sample):
    sample = golden_sample("cat")
    two_handles = replace(
        sample,
        sources=ImagePoints.of([(40, 40), (80, 80), (64, 64)]),
        targets=ImagePoints.of([(50, 40), (90, 80), (64, 64)]),
        mask=None,
    )
    assert rotation_axes(two_handles, "shared").rc.tolist() == [[32, 32], [32, 32]]
    off_centre = replace(
        two_handles,
        sources=ImagePoints.of([(40, 40), (80, 80), (20, 90)]),
        targets=ImagePoints.of([(50, 40), (90, 80), (20, 90)]),
    )
    assert rotation_axes(off_centre, "shared").rc.tolist() == [[45, 10], [45, 10]]
    # Without a mask the second handle's derived axis is the centre of the grid.
    assert rotation_axes(off_centre, "in_order").rc.tolist() == [[45, 10], [32, 32]]
