"""Turn, beside Nothing: what it makes of the generated split, whose exact results are known, and of odd samples."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from generated_drags import distances_left, generated, picture

from evaluation.metrics.psnr import psnr
from evaluation.metrics.rotation import measure_turn, rotation_error, wanted_turn
from methods.nothing import Nothing
from methods.turn import Turn, move_object, object_of, turning_centres, wanted_motion
from rotationbench.errors import ConfigError
from rotationbench.points import ImagePoints
from rotationbench.sample import DragSample, SampleMeta

# One or several handles, with and without a pivot among the points, whole objects and parts, small and large turns.
GENERATED = ["gen-boot", "gen-cactus-arm", "gen-dolphin", "gen-gauge-needle", "gen-rocket", "gen-tower"]


@pytest.mark.parametrize("name", GENERATED)
def test_turn_turns_by_the_wanted_angle_and_nothing_by_none(name):
    sample = generated(name)
    wanted = wanted_turn(sample)
    exact = measure_turn(sample.image, sample.target, sample.meta.object_mask)
    assert exact is not None and rotation_error(exact.angle, wanted) < 1

    turned = picture(Turn().edit(None, sample))
    assert rotation_error(measure_turn(sample.image, turned, sample.meta.object_mask).angle, wanted) < 3
    idle = picture(Nothing().edit(None, sample))
    unturned = measure_turn(sample.image, idle, sample.meta.object_mask)
    assert rotation_error(unturned.angle, wanted) == pytest.approx(abs(wanted), abs=0.1)
    # What is lost is the ground that the object hid; each of the six gains more than this by turning.
    assert psnr(sample.target, turned) > psnr(sample.target, idle) + 5


def test_turn_reports_where_the_handles_ended():
    sample = generated("gen-anchor")
    result = Turn().edit(None, sample)
    assert len(result.targets) == 3
    assert (result.steps, result.converged) == (1, None)
    # The points of the sample are whole pixels, so that they lie on a similarity only nearly.
    assert distances_left(result, sample).max() < 2
    np.testing.assert_allclose(result.axis.to_image(sample.size).xy, [sample.meta.pivot] * 3, atol=1e-9)
    assert result.edited.min() >= 0 and result.edited.max() <= 1


# --- the motion -----------------------------------------------------------------------------------------------------


def rotation(angle: float, centre: tuple[float, float], scale: float = 1.0) -> np.ndarray:
    # OpenCV counts angles counter-clockwise.
    return cv2.getRotationMatrix2D(centre, -angle, scale)


def moved(points: np.ndarray, motion: np.ndarray) -> np.ndarray:
    return points @ motion[:, :2].T + motion[:, 2]


def test_one_handle_turns_rigidly_about_the_centre():
    # From 3 o'clock to beyond 6 o'clock, which is a quarter turn clockwise on the screen.
    motion = wanted_motion(np.array([[60.0, 30.0]]), np.array([[40.0, 90.0]]), np.array([40.0, 30.0]))
    np.testing.assert_allclose(motion, rotation(90, (40, 30)), atol=1e-12)


def test_several_handles_turn_and_grow_as_they_ask():
    points = np.array([[10.0, 20.0], [70.0, 25.0], [40.0, 80.0]])
    wanted = rotation(-110, (33, 44), 1.3)
    np.testing.assert_allclose(wanted_motion(points, moved(points, wanted), None), wanted, atol=1e-12)
    about = wanted_motion(points, moved(points, wanted), np.array([33.0, 44.0]))
    np.testing.assert_allclose(about, wanted, atol=1e-12)


def test_the_fit_is_the_best_of_all_similarities():
    rng = np.random.default_rng(0)
    before, after = rng.uniform(0, 100, (2, 5, 2))
    motion = wanted_motion(before, after, None)

    def error(matrix: np.ndarray) -> float:
        return float(np.square(moved(before, matrix) - after).sum())

    for step in rng.normal(0, 1e-3, (50, 4)):
        a, b, x, y = step
        assert error(motion + np.array([[a, -b, x], [b, a, y]])) >= error(motion)


@pytest.mark.parametrize(
    ("sources", "targets", "centre", "shift"),
    [
        ([[5, 5]], [[9, 7]], [5, 5], [0, 0]),
        ([[9, 7]], [[5, 5]], [5, 5], [0, 0]),
        ([[5, 5], [5, 5]], [[9, 7], [11, 7]], None, [5, 2]),
        ([[0, 0], [8, 0]], [[4, 4], [4, 4]], None, [0, 4]),
    ],
)
def test_without_a_direction_nothing_turns(sources, targets, centre, shift):
    motion = wanted_motion(
        np.array(sources, float), np.array(targets, float), None if centre is None else np.array(centre, float)
    )
    np.testing.assert_allclose(motion, np.array([[1, 0, shift[0]], [0, 1, shift[1]]]), atol=1e-12)


def small_sample(**changes) -> DragSample:
    values = {
        "name": "small",
        "image": np.random.default_rng(1).integers(0, 256, (60, 90, 3), dtype=np.uint8),
        "prompt": "",
        "sources": ImagePoints.of([(60, 30)]),
        "targets": ImagePoints.of([(45, 45)]),
    }
    return DragSample(**(values | changes))


def test_the_centre_is_the_pivot_pair_or_the_known_pivot_or_the_derived_axis():
    handles = {"sources": ImagePoints.of([(60, 30), (45, 30)]), "targets": ImagePoints.of([(45, 45), (45, 30)])}
    known = SampleMeta(pivot=(20.0, 21.0))
    assert turning_centres(small_sample(**handles, meta=known)).tolist() == [[45, 30]]
    assert turning_centres(small_sample(meta=known)).tolist() == [[20, 21]]
    # Without a mask RotationDrag's axis is the middle cell of the grid, at (22, 15).
    np.testing.assert_allclose(turning_centres(small_sample()), [[44, 30]])
    several = {"sources": ImagePoints.of([(60, 30), (40, 30)]), "targets": ImagePoints.of([(45, 45), (50, 20)])}
    assert turning_centres(small_sample(**several)) is None
    assert turning_centres(small_sample(**several, meta=known)).tolist() == [[20, 21]] * 2
    two_pivots = {
        "sources": ImagePoints.of([(60, 30), (40, 30), (5, 5)]),
        "targets": ImagePoints.of([(45, 45), (40, 30), (5, 5)]),
    }
    assert turning_centres(small_sample(**two_pivots)) is None


def test_several_pivots_hold_the_object_back():
    free = small_sample(
        sources=ImagePoints.of([(60, 30), (40, 30)]), targets=ImagePoints.of([(60, 40), (40, 40)]), mask=None
    )
    held = replace(
        free,
        sources=ImagePoints.of([*free.sources.xy, (50, 10), (50, 50)]),
        targets=ImagePoints.of([*free.targets.xy, (50, 10), (50, 50)]),
    )
    assert distances_left(Turn().edit(None, free), free) == pytest.approx([0, 0], abs=1e-9)
    assert distances_left(Turn().edit(None, held), held) == pytest.approx([5, 5])


# --- the picture ----------------------------------------------------------------------------------------------------


def test_the_object_is_the_object_mask_or_what_may_change_or_everything():
    smaller, larger = np.zeros((60, 90), bool), np.zeros((60, 90), bool)
    smaller[20:30, 50:70], larger[10:40, 40:80] = True, True
    assert (object_of(small_sample(mask=larger, meta=SampleMeta(object_mask=smaller))) == smaller).all()
    assert (object_of(small_sample(mask=larger)) == larger).all()
    assert object_of(small_sample(mask=np.zeros((60, 90), bool))).all()
    assert object_of(small_sample()).all()


def test_the_object_arrives_whole_and_leaves_plain_ground_behind():
    image, mask = np.full((80, 120, 3), 40, np.uint8), np.zeros((80, 120), bool)
    image[30:50, 70:100], mask[30:50, 70:100] = 200, True
    # A quarter turn about (60, 40) takes x 70..99 and y 30..49 to x 51..70 and y 50..79.
    turned = move_object(image, mask, rotation(90, (60, 40)), feather=0.0, inpaint_radius=3.0)
    expected = np.full((80, 120), 40.0)
    expected[50:80, 51:71] = 200
    np.testing.assert_allclose(turned[expected == 200], 200, atol=0.01)
    # Fast marching leaves a ripple of a few grey levels where it fills the hole.
    np.testing.assert_allclose(turned[..., 0], expected, atol=5)
    soft = move_object(image, mask, rotation(90, (60, 40)), feather=1.5, inpaint_radius=3.0)
    assert 100 < soft[65, 51, 0] < 180
    assert soft[65, 60, 0] == pytest.approx(200, abs=1)


def test_without_a_mask_the_whole_picture_turns_and_its_corners_are_filled():
    image = np.full((60, 60, 3), 90, np.uint8)
    image[:, 30:] = 160
    turned = move_object(image, np.ones((60, 60), bool), rotation(180, (29.5, 29.5)), feather=0.7, inpaint_radius=3.0)
    np.testing.assert_allclose(turned, image[:, ::-1], atol=0.5)
    eighth = move_object(image, np.ones((60, 60), bool), rotation(45, (29.5, 29.5)), feather=0.7, inpaint_radius=3.0)
    assert eighth.min() > 85 and eighth.max() < 165


@pytest.mark.parametrize("point", [(0, 0), (89, 59), (89, 0), (0, 59)])
def test_handles_in_the_corners_of_a_picture_that_is_not_square(point):
    sample = small_sample(sources=ImagePoints.of([point]), targets=ImagePoints.of([(45, 30)]))
    for method in (Turn(), Nothing()):
        assert method.edit(None, sample).edited.shape == (1, 3, 60, 90)


def test_without_handles_nothing_turns():
    sample = small_sample(sources=ImagePoints.of([(20, 20)]), targets=ImagePoints.of([(20, 20)]))
    result = Turn().edit(None, sample)
    assert len(result.trajectory[-1]) == 0
    np.testing.assert_array_equal(picture(result), sample.image)


@pytest.mark.parametrize("setting", [{"feather": -1.0}, {"inpaint_radius": 0.0}])
def test_bad_settings_are_named(setting):
    with pytest.raises(ConfigError, match=f"method.{next(iter(setting))}"):
        Turn(**setting)
