import cv2
import numpy as np
import pytest
import torch

from evaluation.table1.matching import mutual_nearest


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
