import cv2
import numpy as np

from evaluation.table1.features.base import Runtime
from evaluation.table1.features.keypoints import detect_corners
from evaluation.table1.features.sift import Sift, root_sift
from evaluation.table1.matching import mutual_nearest
from rotationbench.config import ModelConfig

CPU = Runtime(ModelConfig(name="none", pretrained="none"), device="cpu")


def test_sift_finds_the_keypoints_of_opencv(photo):
    features = Sift(max_keypoints=200).load(CPU).reference(photo)
    assert features.descriptors.shape == (1, len(features.keypoints), 128)
    # OpenCV keeps ties of the weakest keypoint.
    assert 200 <= len(features.keypoints) <= 205
    keypoints = cv2.SIFT.create(200, contrastThreshold=0.01, enable_precise_upscale=True).detect(
        cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    )
    np.testing.assert_allclose(features.keypoints, [keypoint.pt for keypoint in keypoints], atol=1e-3)


def test_sift_positions_turn_with_the_picture_without_bias(photo):
    """Half a turn maps pixel x to width − 1 − x; a bias of the positions would show twice."""
    extractor = Sift().load(CPU)
    first, second = extractor.reference(photo), extractor.warped(np.ascontiguousarray(photo[::-1, ::-1]))
    matches = mutual_nearest(first.descriptors, second.descriptors[0]).numpy()
    turned = np.array([319, 239]) - second.keypoints[matches[:, 1]]
    offsets = first.keypoints[matches[:, 0]] - turned
    close = np.abs(offsets).max(axis=1) < 1
    assert close.mean() > 0.9
    assert np.abs(offsets[close].mean(axis=0)).max() < 0.02


def test_root_sift_is_the_square_root_of_l1_normalised_descriptors(photo):
    plain, root = Sift().load(CPU).reference(photo), Sift(root=True).load(CPU).reference(photo)
    descriptors = plain.descriptors[0].numpy()
    expected = np.sqrt(descriptors / descriptors.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(root.descriptors[0].numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1, rtol=1e-5)
    assert np.isfinite(root_sift(np.zeros((1, 128), dtype=np.float32))).all()


def test_a_flat_picture_has_no_keypoints():
    flat = np.full((64, 64, 3), 90, dtype=np.uint8)
    features = Sift().load(CPU).reference(flat)
    assert features.keypoints.shape == (0, 2)
    assert features.descriptors.shape == (1, 0, 128)
    assert detect_corners(flat, 100, 4).shape == (0, 2)
