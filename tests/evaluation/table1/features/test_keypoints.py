import pytest

from evaluation.table1.features.base import Runtime
from evaluation.table1.features.keypoints import Keypoints, load_detector
from evaluation.table1.features.superpoint import SuperPoint
from rotationbench.config import ModelConfig
from rotationbench.errors import ConfigError, MissingWeightsError

CPU = Runtime(ModelConfig(name="none", pretrained="none"), device="cpu")


def test_corners_stand_in_for_superpoint_only_when_asked_or_allowed(monkeypatch, superpoint_folder, photo):
    here = SuperPoint(pretrained=str(superpoint_folder), keypoint_threshold=0.0, max_keypoints=60)
    absent = SuperPoint(pretrained="/nowhere/at/all", max_keypoints=60)
    assert load_detector(Keypoints("auto", here), CPU).name == "SuperPoint's keypoints"
    corners = load_detector(Keypoints("auto", absent), CPU)
    assert corners.name == "corners"
    assert len(corners.detect(photo)) == 60
    assert load_detector(Keypoints("corners", here), CPU).name == "corners"
    assert len(corners.identity) == 1
    with pytest.raises(MissingWeightsError):
        load_detector(Keypoints("superpoint", absent), CPU)
    with pytest.raises(ConfigError, match="blobs"):
        Keypoints("blobs")
