import numpy as np
import pytest

from rotationbench.rotation import turn_mask, turn_points
from tools.dataset.geometry import filled, painted_mask


def test_positive_turns_are_clockwise_on_the_screen():
    assert turn_points(np.array([[10.0, 0.0]]), (0.0, 0.0), 90) == pytest.approx(np.array([[0.0, 10.0]]))
    square = filled(np.array([[60, 48], [70, 48], [70, 52], [60, 52]]), (100, 100))
    rows, columns = np.nonzero(turn_mask(square, (50.0, 50.0), 90))
    assert (columns.mean(), rows.mean()) == pytest.approx((50, 65), abs=0.6)


def test_painted_masks_cover_every_pose_with_a_border():
    stick = filled(np.array([[50, 20], [54, 20], [54, 50], [50, 50]]), (100, 100))
    mask = painted_mask(stick, (52.0, 50.0), 60, 6)
    for angle in (0, 17, 44, 60):
        assert mask[turn_mask(stick, (52.0, 50.0), angle)].all()
    assert mask[35, 46]
    assert not mask[35, 35]
    assert not mask[80:].any()
