"""Rotation error: turns that are known are measured, and turns that cannot be known are not."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from synthetic_results import make_sample, the_wrong_way

from evaluation.metrics import rotation
from evaluation.metrics.rotation import measure_turn, rotation_error, wanted_turn
from rotationbench.points import ImagePoints


@pytest.mark.parametrize("angle", [0.0, 7.0, -35.0, 90.0, -120.0, 175.0])
def test_measures_a_known_turn(angle):
    sample = make_sample(3, 192, angle=angle)
    turn = measure_turn(sample.image, sample.target, sample.meta.object_mask)
    assert rotation_error(turn.angle, angle) < 1
    assert 0.25 <= turn.confidence <= 1


def test_the_wrong_way_is_twice_the_angle_off_and_no_edit_is_the_angle_off():
    sample = make_sample(4, 192, angle=50)
    backwards = measure_turn(sample.image, the_wrong_way(sample), sample.meta.object_mask)
    assert rotation_error(backwards.angle, 50) == pytest.approx(100, abs=1)
    idle = measure_turn(sample.image, sample.image, sample.meta.object_mask)
    assert rotation_error(idle.angle, 50) == pytest.approx(50, abs=0.01)


def test_the_turn_of_the_background_does_not_count():
    sample = make_sample(5, 192, angle=60)
    rng = np.random.default_rng(0)
    clutter = cv2.resize(rng.integers(0, 256, (30, 30, 3), dtype=np.uint8), (192, 192))
    before = np.where(sample.meta.object_mask[..., None], sample.image, clutter)
    after = np.where(sample.meta.object_mask_target[..., None], sample.target, clutter)
    assert rotation_error(measure_turn(before, after, sample.meta.object_mask).angle, 60) < 1


def test_tracking_steps_in_where_descriptors_fail(monkeypatch):
    monkeypatch.setattr(rotation, "_turn_by_sift", lambda *_: None)
    sample = make_sample(6, 192, angle=100)
    turn = measure_turn(sample.image, sample.target, sample.meta.object_mask)
    assert rotation_error(turn.angle, 100) < 2


def plain_disc(side: int = 128) -> tuple[np.ndarray, np.ndarray]:
    picture, mask = np.full((side, side, 3), 200, np.uint8), np.zeros((side, side), np.uint8)
    cv2.circle(mask, (side // 2, side // 2), side // 4, 1, -1)
    picture[mask > 0] = 90
    return picture, mask > 0


def noisy(picture: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 6, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def test_a_disc_without_texture_is_undetermined():
    picture, mask = plain_disc()
    assert measure_turn(noisy(picture), picture, mask) is None


def test_an_object_that_looks_the_same_at_four_angles_is_undetermined():
    picture, mask = plain_disc(129)
    texture = make_sample(2, 129).image
    quarter = texture[:65, :65]
    symmetric = np.zeros_like(picture)
    for turns in range(4):
        part = np.zeros_like(picture)
        part[:65, :65] = quarter
        symmetric = np.maximum(symmetric, np.rot90(part, turns))
    picture = np.where(mask[..., None], symmetric, picture)
    assert measure_turn(picture, noisy(picture), mask) is None


def test_content_that_is_gone_is_undetermined():
    sample = make_sample(7, 128)
    noise = np.random.default_rng(0).integers(0, 256, sample.image.shape, dtype=np.uint8)
    assert measure_turn(sample.image, noise, sample.meta.object_mask) is None
    assert measure_turn(sample.image, np.full_like(sample.image, 128), sample.meta.object_mask) is None


def test_an_object_outside_the_searched_region_is_not_found():
    sample = make_sample(8, 128, angle=30)
    nowhere = np.zeros(sample.size, bool)
    assert measure_turn(sample.image, sample.target, sample.meta.object_mask, nowhere) is None


def test_the_measurement_is_repeatable():
    sample = make_sample(9, 128, angle=30)
    turns = [measure_turn(sample.image, sample.target, sample.meta.object_mask) for _ in range(2)]
    assert turns[0] == turns[1]


def test_directions_wrap():
    assert rotation_error(170, -170) == pytest.approx(20)
    assert rotation_error(-90, 90) == pytest.approx(180)


def test_the_wanted_turn_comes_from_the_metadata_or_from_the_pairs():
    sample = make_sample(1, 128, angle=-130)
    assert wanted_turn(sample) == -130
    by_pivot = replace(sample, meta=replace(sample.meta, angle=None))
    assert wanted_turn(by_pivot) == pytest.approx(-130)
    by_pivot_pair = replace(sample, meta=replace(sample.meta, angle=None, pivot=None))
    assert wanted_turn(by_pivot_pair) == pytest.approx(-130)
    handle = slice(0, 1)
    unknown = replace(by_pivot_pair, sources=sample.sources[handle], targets=sample.targets[handle])
    assert wanted_turn(unknown) is None


def test_the_mean_of_turns_does_not_break_at_half_a_turn():
    sample = make_sample(1, 128)
    pairs = {"sources": ImagePoints.of([(100, 50), (20, 50)]), "targets": ImagePoints.of([(20.3, 53), (99.7, 53)])}
    meta = replace(sample.meta, angle=None, pivot=(60.0, 50.0))
    assert abs(wanted_turn(replace(sample, meta=meta, **pairs))) == pytest.approx(180, abs=0.1)


def test_bad_input_says_what_came():
    picture, mask = plain_disc(64)
    with pytest.raises(ValueError, match="same size"):
        measure_turn(picture, picture[:-1], mask)
    with pytest.raises(ValueError, match="region bool"):
        measure_turn(picture, picture, mask[:-1])
