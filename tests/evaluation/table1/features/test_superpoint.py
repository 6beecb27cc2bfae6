import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import SuperPointConfig, SuperPointForKeypointDetection

from evaluation.table1.features import superpoint
from evaluation.table1.features.base import Runtime
from evaluation.table1.features.superpoint import ORIGINAL_NAMES, SuperPoint, load_superpoint, original_names
from rotationbench.config import ModelConfig
from rotationbench.errors import CheckpointError, MissingWeightsError

CPU = Runtime(ModelConfig(name="none", pretrained="none"), device="cpu")


def test_superpoint_runs_from_a_folder_in_the_layout_of_the_hub(superpoint_folder, photo):
    settings = SuperPoint(pretrained=str(superpoint_folder), max_keypoints=150, keypoint_threshold=0.0)
    features = settings.load(CPU).reference(photo)
    assert features.keypoints.shape == (150, 2)
    assert features.descriptors.shape == (1, 150, 256)
    torch.testing.assert_close(features.descriptors[0].norm(dim=1), torch.ones(150))
    np.testing.assert_allclose(features.keypoints, features.keypoints.round(), atol=1e-3)
    assert (features.keypoints >= 0).all()
    assert (features.keypoints < [320, 240]).all()


def test_superpoint_keypoints_are_where_the_scores_peak(random_superpoint, superpoint_folder, photo):
    features = SuperPoint(pretrained=str(superpoint_folder), max_keypoints=40, keypoint_threshold=0.0).load(CPU)
    keypoints = features.reference(photo).keypoints.round().astype(int)
    grey = torch.from_numpy(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)).float()[None, None] / 255
    with torch.no_grad():
        scores = random_superpoint.keypoint_decoder._get_pixel_scores(random_superpoint.encoder(grey)[0])[0].numpy()
    scores[:4], scores[-4:], scores[:, :4], scores[:, -4:] = 0, 0, 0, 0
    strongest = np.sort(scores.ravel())[-40]
    assert (scores[keypoints[:, 1], keypoints[:, 0]] >= strongest).all()


def test_superpoint_drops_keypoints_at_all_four_borders(random_superpoint, superpoint_folder, photo):
    """Without a limit there are as many as the score map has inside, and each keeps its own descriptor."""
    settings = SuperPoint(pretrained=str(superpoint_folder), max_keypoints=0, keypoint_threshold=0.0)
    features = settings.load(CPU).reference(photo)
    grey = torch.from_numpy(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)).float()[None, None] / 255
    with torch.no_grad():
        output = random_superpoint(grey)
    everywhere = (output.keypoints[0] * torch.tensor([320, 240])).round().numpy()
    inside = ((everywhere >= 4) & (everywhere < [316, 236])).all(axis=1)
    assert (everywhere[:, 0] >= 316).any()
    assert (everywhere[:, 1] >= 236).any()
    found = {tuple(xy): descriptor for xy, descriptor in zip(features.keypoints, features.descriptors[0], strict=True)}
    assert set(found) == {tuple(xy) for xy in everywhere[inside]}
    for xy, descriptor in zip(everywhere[inside], output.descriptors[0][inside], strict=True):
        torch.testing.assert_close(found[tuple(xy)], descriptor)


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_superpoint_reads_a_state_dict_in_the_original_names(random_superpoint, tmp_path, ending):
    own = random_superpoint.state_dict()
    state = {name: own[original_names(name)].clone() for name in ORIGINAL_NAMES}
    assert len(state) == len(own)
    path = tmp_path / f"superpoint_v1{ending}"
    if ending == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    loaded = load_superpoint(str(path)).state_dict()
    for name, value in own.items():
        torch.testing.assert_close(loaded[name], value)


def test_original_layers_have_the_shapes_of_the_original_release():
    """Channels as in the paper's figure 3: encoder 64-64-128-128, detector 256-65, descriptor 256-256."""
    own = SuperPointForKeypointDetection(SuperPointConfig()).state_dict()
    shapes = [tuple(own[original_names(name)].shape) for name in ORIGINAL_NAMES if name.endswith("weight")]
    assert [shape[:2] for shape in shapes] == [
        (64, 1),
        (64, 64),
        (64, 64),
        (64, 64),
        (128, 64),
        (128, 128),
        (128, 128),
        (128, 128),
        (256, 128),
        (65, 256),
        (256, 128),
        (256, 256),
    ]


def test_files_that_are_no_superpoint_are_refused(tmp_path):
    (tmp_path / "bad.pth").write_bytes(b"nothing of the kind")
    with pytest.raises(CheckpointError, match=r"bad\.pth"):
        load_superpoint(str(tmp_path / "bad.pth"))
    torch.save({"conv9a.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="conv9a"):
        load_superpoint(str(tmp_path / "other.pth"))


def test_missing_weights_come_with_the_command_that_fetches_them(monkeypatch, tmp_path):
    with pytest.raises(MissingWeightsError, match="expected a folder or a file"):
        load_superpoint(str(tmp_path / "absent"))

    def no_network(url: str, timeout: float) -> None:
        raise ConnectionError("no network")

    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(superpoint, "get_hf_file_metadata", no_network)
    with pytest.raises(MissingWeightsError, match="hf download magic-leap-community/superpoint"):
        load_superpoint("nobody/has-this-one")
