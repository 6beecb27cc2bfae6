import cv2
import numpy as np
import pytest
import torch

from evaluation.table1.estimation import Estimator, corner_error, estimate_homography
from evaluation.table1.matching import mutual_nearest
from evaluation.table1.warps import Crop, WarpRanges, draw_warp, transform
from rotationbench.errors import ConfigError

CROP = Crop(0, 0, 480, 640)


def as_set(pairs: torch.Tensor) -> set[tuple[int, int]]:
    return {tuple(pair) for pair in pairs.tolist()}


def test_matches_equal_those_of_opencv():
    random = np.random.default_rng(0)
    first = random.normal(size=(120, 16)).astype(np.float32)
    second = np.concatenate([first[::3] + 0.5 * random.normal(size=(40, 16)), random.normal(size=(50, 16))])
    second = (second * random.uniform(0.5, 2, (90, 1))).astype(np.float32)
    expected = {(m.queryIdx, m.trainIdx) for m in cv2.BFMatcher(cv2.NORM_L2, crossCheck=True).match(first, second)}
    assert as_set(mutual_nearest(torch.from_numpy(first)[None], torch.from_numpy(second))) == expected
    unit_first, unit_second = (array / np.linalg.norm(array, axis=1, keepdims=True) for array in (first, second))
    cosine = {
        (m.queryIdx, m.trainIdx) for m in cv2.BFMatcher(cv2.NORM_L2, crossCheck=True).match(unit_first, unit_second)
    }
    assert cosine != expected
    assert as_set(mutual_nearest(torch.from_numpy(first)[None], torch.from_numpy(second), metric="cosine")) == cosine


def test_the_nearest_view_of_a_keypoint_counts():
    target = torch.eye(4)
    views = torch.zeros(2, 4, 4)
    views[0, :2], views[1, 2:] = target[:2], target[2:]
    assert as_set(mutual_nearest(views, target)) == {(0, 0), (1, 1), (2, 2), (3, 3)}


def test_what_a_view_does_not_show_is_not_matched():
    target = torch.eye(3)
    visible = torch.tensor([[True, False, True], [True, False, False]])
    assert as_set(mutual_nearest(target.expand(2, 3, 3), target, visible=visible)) == {(0, 0), (2, 2)}


def test_no_keypoints_have_no_matches():
    assert mutual_nearest(torch.zeros(1, 0, 8), torch.zeros(5, 8)).shape == (0, 2)
    assert mutual_nearest(torch.zeros(1, 5, 8), torch.zeros(0, 8)).shape == (0, 2)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="hamming"):
        mutual_nearest(torch.zeros(1, 2, 8), torch.zeros(2, 8), metric="hamming")
    with pytest.raises(ValueError, match=r"\(1, 2, 8\) and \(2, 4\)"):
        mutual_nearest(torch.zeros(1, 2, 8), torch.zeros(2, 4))


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
