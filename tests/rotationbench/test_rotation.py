"""Turns, against complex numbers, against pictures whose turn is a transposition, and against each other."""

from __future__ import annotations

import cmath
import math

import numpy as np
import pytest

from rotationbench.rotation import (
    rotation_matrix,
    turn_between,
    turn_mask,
    turn_matrix,
    turn_picture,
    turn_points,
    wrap_degrees,
)

ANGLES = (-180.0, -135.5, -90.0, -7.25, 0.0, 30.0, 90.0, 179.0, 180.0, 400.0)
PIVOT = (12.5, -3.0)


def turned_by_complex_numbers(points: np.ndarray, pivot: tuple[float, float], angle: float) -> np.ndarray:
    centre, factor = complex(*pivot), cmath.exp(1j * math.radians(angle))
    ends = [centre + factor * (complex(*point) - centre) for point in points]
    return np.array([[end.real, end.imag] for end in ends])


@pytest.mark.parametrize("angle", ANGLES)
def test_points_turn_as_complex_numbers_do(angle):
    points = np.random.default_rng(0).uniform(-100, 100, (20, 2))
    expected = turned_by_complex_numbers(points, PIVOT, angle)
    np.testing.assert_allclose(turn_points(points, PIVOT, angle), expected, atol=1e-12)
    matrix = turn_matrix(PIVOT, angle)
    np.testing.assert_allclose(points @ matrix[:, :2].T + matrix[:, 2], expected, atol=1e-12)
    np.testing.assert_array_equal(rotation_matrix(angle), matrix[:, :2])


def test_no_points_stay_none():
    assert turn_points(np.empty((0, 2)), PIVOT, 30.0).shape == (0, 2)


def test_points_of_another_shape_are_refused():
    with pytest.raises(ValueError):
        turn_points(np.zeros((4, 3)), PIVOT, 30.0)


@pytest.mark.parametrize("angle", ANGLES)
def test_wrapped_angles_point_the_same_way_within_half_a_turn(angle):
    for turns in (-2, -1, 0, 1, 2):
        wrapped = wrap_degrees(angle + 360.0 * turns)
        assert -180.0 <= wrapped <= 180.0
        assert cmath.isclose(cmath.exp(1j * math.radians(wrapped)), cmath.exp(1j * math.radians(angle)), abs_tol=1e-12)


def test_what_lies_within_half_a_turn_stays_to_the_bit():
    for angle in (0.1, -0.1, 1e-300, 179.99999999999997, -180.0, 180.0):
        assert wrap_degrees(angle) == angle


@pytest.mark.parametrize("angle", [angle for angle in ANGLES if abs(angle) < 180])
def test_the_turn_between_a_direction_and_itself_turned_is_the_turn(angle):
    for before in np.random.default_rng(1).normal(size=(20, 2)):
        (after,) = turn_points(before[None], (0, 0), angle)
        assert turn_between(before, 3.0 * after) == pytest.approx(angle, abs=1e-9)


def test_opposite_directions_are_half_a_turn_apart():
    assert turn_between((1, 0), (-1, 0)) == 180.0
    assert abs(turn_between((0, 1), (0, -1))) == 180.0


def test_a_quarter_turn_of_a_picture_is_clockwise_on_the_screen():
    picture = np.random.default_rng(2).integers(0, 256, (15, 15, 3), dtype=np.uint8)
    middle = (7, 7)
    np.testing.assert_array_equal(turn_picture(picture, middle, 90.0), np.rot90(picture, -1))
    np.testing.assert_array_equal(turn_picture(picture, middle, -90.0), np.rot90(picture))
    mask = picture[..., 0] > 127
    np.testing.assert_array_equal(turn_mask(mask, middle, 90.0), np.rot90(mask, -1))


def test_masks_and_pictures_follow_their_points():
    mask = np.zeros((190, 200), bool)
    mask[80:83, 110:113] = True
    pivot, angle = (96.0, 94.0), 37.0
    ((x, y),) = turn_points(np.array([[111.0, 81.0]]), pivot, angle)
    rows, columns = np.nonzero(turn_mask(mask, pivot, angle))
    assert (columns.mean(), rows.mean()) == (pytest.approx(x, abs=0.5), pytest.approx(y, abs=0.5))
    light = turn_picture(mask.astype(np.float32), pivot, angle)
    rows, columns = np.indices(light.shape)
    assert (columns * light).sum() / light.sum() == pytest.approx(x, abs=0.1)
    assert (rows * light).sum() / light.sum() == pytest.approx(y, abs=0.1)


def test_what_a_turn_leaves_behind_is_empty_in_masks_and_mirrored_in_pictures():
    full = np.ones((20, 20), bool)
    assert not turn_mask(full, (9.5, 9.5), 45.0)[0, 0]
    assert (turn_picture(np.full((20, 20, 3), 200, np.uint8), (9.5, 9.5), 45.0) == 200).all()
