"""Edits whose quality is known beforehand, measured on generated samples, where the right result is known exactly."""

import math

import cv2
import numpy as np
import pytest

from evaluation.metrics.point_distance import mean_distance
from evaluation.metrics.psnr import psnr
from evaluation.metrics.rotation import measure_turn, rotation_error
from rotationbench.config import project_root
from rotationbench.datasets import open_dataset
from rotationbench.diffusion import StableDiffusion
from rotationbench.diffusion.dift import DiftSettings, dift_features

# Objects with texture, whole and in parts, on plain and textured grounds, turned little and far.
NAMES = ("anchor", "camera", "dagger", "giraffe-neck", "guitar", "helicopter", "rocket", "tower")


@pytest.fixture(params=NAMES)
def sample(request):
    return open_dataset(project_root() / "data" / "rotationbench" / f"gen-{request.param}")[0]


def error_of(sample, edited):
    turn = measure_turn(sample.image, edited, sample.meta.object_mask)
    assert turn is not None
    return rotation_error(turn.angle, sample.meta.angle)


def turned(sample, angle):
    """The whole picture turned about the sample's pivot, clockwise on the screen."""
    matrix = cv2.getRotationMatrix2D(sample.meta.pivot, -angle, 1.0)
    return cv2.warpAffine(sample.image, matrix, sample.size[::-1], flags=cv2.INTER_CUBIC)


def test_the_exact_result_is_right(sample):
    assert error_of(sample, sample.target) < 2.0
    assert psnr(sample.target, sample.target) == math.inf
    assert psnr(sample.image, sample.target, ~sample.mask) > 45


def test_an_edit_that_does_nothing_is_wrong_by_the_whole_angle(sample):
    assert error_of(sample, sample.image) == pytest.approx(abs(sample.meta.angle), abs=1.0)
    assert psnr(sample.target, sample.image) < 35


def test_an_edit_in_the_wrong_direction_is_wrong_by_twice_the_angle(sample):
    twice = abs(2 * sample.meta.angle)
    expected = min(twice, 360 - twice)
    assert error_of(sample, turned(sample, -sample.meta.angle)) == pytest.approx(expected, abs=2.0)
    assert error_of(sample, turned(sample, sample.meta.angle)) < 2.0


@pytest.fixture(scope="module")
def embedded_model():
    return StableDiffusion.from_pretrained(str(project_root() / "data" / "minisd"), device="cpu")


@pytest.mark.parametrize("name", ["axe", "chair", "duck-head", "fir-tree"])
def test_mean_distance_tells_the_exact_result_from_no_edit(embedded_model, name):
    # Turns of about 20°, which the embedded model's features survive.
    small = open_dataset(project_root() / "data" / "rotationbench" / f"gen-{name}")[0].resized((128, 128))
    dragged = ~small.is_pivot
    sources, targets = small.sources[dragged], small.targets[dragged]
    settings = DiftSettings(timestep=101, up_block=2, ensemble=4)
    before = dift_features(embedded_model, small.image, settings)
    after = dift_features(embedded_model, small.target, settings)
    way = np.linalg.norm(sources.xy - targets.xy, axis=1).mean()
    assert mean_distance(before, before, sources, targets, small.size) == pytest.approx(way, abs=1.0)
    assert mean_distance(before, after, sources, targets, small.size) < min(6.0, way / 2)
