import numpy as np
import pytest

from evaluation.table1.estimation import Estimator, corner_error, estimate_homography
from evaluation.table1.warps import Crop, WarpRanges, draw_warp, transform
from rotationbench.errors import ConfigError

CROP = Crop(0, 0, 480, 640)


@pytest.mark.parametrize("kind", ["scaling", "rotation", "perspective", "translation"])
@pytest.mark.parametrize(("method", "share_of_outliers"), [("ransac", 0.6), ("lmeds", 0.35)])
def test_known_homographies_are_recovered_from_noisy_matches_with_outliers(kind, method, share_of_outliers):
    random = np.random.default_rng(5)
    true = draw_warp(kind, CROP, WarpRanges(), seed=0, picture="p", repetition=1).homography
    source = random.uniform([0, 0], [640, 480], (300, 2))
    target = transform(true, source) + random.normal(0, 0.3, (300, 2))
    wrong = random.random(300) < share_of_outliers
    target[wrong] = random.uniform([0, 0], [640, 480], (wrong.sum(), 2))
    estimate = estimate_homography(source, target, Estimator(method=method))
    assert corner_error(estimate.homography, true, CROP.corners) < 1
    assert estimate.inliers[~wrong].mean() > 0.9
    assert estimate.inliers[wrong].mean() < 0.1


@pytest.mark.parametrize("method", ["ransac", "lmeds"])
@pytest.mark.parametrize(
    "points",
    [
        np.zeros((0, 2)),
        np.array([[0, 0], [100, 0], [0, 100]]),
        np.tile([[50.0, 50.0]], (20, 1)),
        np.column_stack([np.arange(50.0) * 7, np.arange(50.0) * 3 + 20]),
        np.array([[0, 0], [10, 10], [20, 20], [50, 20]]),
    ],
    ids=["none", "three", "one place", "collinear", "three of four collinear"],
)
def test_degenerate_matches_have_no_homography(method, points):
    estimate = estimate_homography(points, points + np.array([5.0, 3.0]), Estimator(method=method))
    assert estimate.homography is None
    assert not estimate.inliers.any()
    assert estimate.inliers.shape == (len(points),)


def test_collinear_inliers_among_outliers_have_no_homography():
    random = np.random.default_rng(0)
    line = np.column_stack([np.linspace(10, 600, 60), np.linspace(30, 400, 60)])
    source = np.concatenate([line, random.uniform(0, 480, (3, 2))])
    target = np.concatenate([line + 8.0, random.uniform(0, 480, (3, 2))])
    assert estimate_homography(source, target, Estimator(threshold=0.5)).homography is None


def test_a_mirrored_picture_has_no_homography():
    random = np.random.default_rng(1)
    source = random.uniform(0, 400, (50, 2))
    mirrored = source * [-1, 1] + [400, 0]
    assert estimate_homography(source, mirrored, Estimator()).homography is None


def test_the_corner_error_is_the_mean_over_four_corners():
    true = np.diag([1.0, 1.0, 1.0])
    shifted = np.array([[1, 0, 3.0], [0, 1, 4.0], [0, 0, 1]])
    assert corner_error(shifted, true, CROP.corners) == pytest.approx(5)
    stretched = np.diag([1 + 4 / 639, 1.0, 1.0])
    assert corner_error(stretched, true, CROP.corners) == pytest.approx(2)
    assert corner_error(None, true, CROP.corners) is None
    beyond = np.array([[1, 0, 0], [0, 1, 0], [-1 / 300, 0, 1.0]])
    assert corner_error(beyond, true, CROP.corners) == np.inf


@pytest.mark.parametrize("change", [{"method": "magic"}, {"threshold": 0.0}, {"iterations": 0}, {"confidence": 1.0}])
def test_impossible_estimators_are_refused(change):
    with pytest.raises(ConfigError, match="estimator"):
        Estimator(**change)
