from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from synthetic_results import make_sample

from evaluation.fitted_turn import fitted_turn
from rotationbench.rotation import turn_picture
from rotationbench.sample import SampleMeta


@pytest.mark.parametrize("angle", [20.0, -40.0, 70.0])
def test_a_fitted_turn_is_the_turn_that_was_made(angle):
    sample = make_sample(0, angle=angle)
    assert fitted_turn(sample, sample.target) == pytest.approx(angle, abs=2.5)
    assert fitted_turn(sample, sample.image) == 0


def test_half_a_turn_is_told_from_a_blurred_edit():
    sample = make_sample(0, angle=40.0)
    half = cv2.GaussianBlur(turn_picture(sample.image, sample.meta.pivot, 20.0), (0, 0), 3.0)
    pale = (half.astype(float) * 0.5 + 60).astype(np.uint8)
    assert fitted_turn(sample, half) == pytest.approx(20.0, abs=3.0)
    assert fitted_turn(sample, pale) == pytest.approx(20.0, abs=5.0)


def test_a_sample_must_say_what_turns_about_what():
    sample = replace(make_sample(0), meta=SampleMeta())
    with pytest.raises(ValueError, match="object mask and a pivot"):
        fitted_turn(sample, sample.image)
