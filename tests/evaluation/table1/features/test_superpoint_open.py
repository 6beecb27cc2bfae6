"""Against values that the published model gave for random weights; see `golden/README.md`."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from tests_helpers import GOLDEN

from evaluation.table1.features.base import Runtime
from evaluation.table1.features.keypoints import Keypoints, load_detector
from evaluation.table1.features.superpoint import SuperPoint
from evaluation.table1.features.superpoint_open import SuperPointOpen, describe, load_network, suppress
from rotationbench.config import ModelConfig
from rotationbench.errors import CheckpointError, MissingWeightsError

CPU = Runtime(ModelConfig(name="none", pretrained="none"), device="cpu")
RECORDED = GOLDEN / "superpoint_open"


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """The weights behind the recording: seeded, so that the file of 5 MB need not be kept."""
    random = np.random.default_rng(6)
    weights = {}
    for name, shape in json.loads((RECORDED / "keys.json").read_text()).items():
        drawn = random.standard_normal(shape)
        if name.endswith("conv.weight"):
            drawn = drawn * np.sqrt(2 / np.prod(shape[1:]))
        elif name.endswith(("bn.weight", "bn.running_var")):
            drawn = 1 + 0.2 * np.tanh(drawn)
        else:
            drawn = 0.1 * drawn
        weights[name] = torch.from_numpy(drawn.astype(np.float32))
    return weights


@pytest.fixture(scope="module")
def weights(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("superpoint_open") / "weights.pth"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def recorded() -> dict[str, np.ndarray]:
    return dict(np.load(RECORDED / "expected.npz"))


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.asarray(Image.open(RECORDED / "picture.png").convert("RGB"))


def test_the_network_has_the_tensors_that_were_published(state, weights):
    assert len(state) == 72
    assert sum(tensor.numel() for tensor in state.values()) == 1_307_269
    assert list(load_network(weights).state_dict()) == list(state)


def test_logits_and_descriptors_are_those_of_the_published_model(weights, picture, recorded):
    grey = torch.from_numpy(picture[..., 0].copy()).float()[None, None] / 255
    with torch.no_grad():
        logits, cells = load_network(weights)(grey)
    np.testing.assert_allclose(logits[0].numpy(), recorded["logits"], atol=1e-4)
    np.testing.assert_allclose(cells[0, :16].numpy(), recorded["descriptors_raw_first_16"], atol=1e-4)


def test_keypoints_and_their_descriptors_are_those_of_the_published_model(weights, picture, recorded):
    features = SuperPointOpen(weights=str(weights), max_keypoints=40).load(CPU).reference(picture)
    found = {tuple(xy): row for row, xy in enumerate(features.keypoints)}
    assert set(found) == {tuple(xy) for xy in recorded["keypoints"]}
    rows = [found[tuple(xy)] for xy in recorded["keypoints"]]
    # Scores less than 1e-4 apart may change places.
    assert np.abs(np.array(rows) - np.arange(40)).max() <= 1
    descriptors = features.descriptors[0, rows[:8]].numpy()
    np.testing.assert_allclose(descriptors, recorded["descriptors"], atol=1e-5)


def test_no_limit_and_no_threshold_leave_what_suppression_and_borders_leave(weights, picture):
    extractor = SuperPointOpen(weights=str(weights), max_keypoints=0, keypoint_threshold=0.0, nms_radius=1).load(CPU)
    keypoints = extractor.reference(picture).keypoints
    assert len(keypoints) > 100
    assert keypoints.min(axis=0).tolist() == [4, 4]
    assert keypoints.max(axis=0).tolist() == [67, 59]
    strict = SuperPointOpen(weights=str(weights), keypoint_threshold=0.99).load(CPU).reference(picture)
    assert strict.keypoints.shape == (0, 2)
    assert strict.descriptors.shape == (1, 0, 256)


def test_suppression_keeps_no_two_within_the_radius_and_loses_no_peak():
    scores = torch.rand(40, 50, generator=torch.Generator().manual_seed(0)).double()
    kept = suppress(scores, 3)
    points = torch.nonzero(kept)
    apart = (points[:, None] - points[None]).abs().amax(dim=2) + 100 * torch.eye(len(points), dtype=torch.int64)
    assert apart.min() > 3
    padded = np.pad(scores.numpy(), 3, constant_values=-1)
    for row in range(40):
        for column in range(50):
            if scores[row, column] == padded[row : row + 7, column : column + 7].max():
                assert kept[row, column] == scores[row, column]


def test_what_a_suppressed_pixel_suppressed_comes_back():
    """5 hides 4, which alone hides 3: 3 is a keypoint, two pixels beside 4 and four beside 5."""
    row = torch.tensor([[0.0, 5, 0, 4, 0, 3, 0, 0, 0, 0]])
    assert suppress(row, 2)[0].tolist() == [0, 5, 0, 0, 0, 3, 0, 0, 0, 0]


def test_descriptors_are_read_between_the_centres_of_cells():
    """A field linear in the cell's index is read exactly: at (p + 0.5) / 8 − 0.5."""
    rows, columns = torch.meshgrid(torch.arange(5.0), torch.arange(6.0), indexing="ij")
    cells = torch.stack([columns, rows, torch.ones(5, 6)]).double()
    xy = torch.tensor([[4.0, 4], [20, 9], [43, 35]]).double()
    place = (xy + 0.5) / 8 - 0.5
    expected = F.normalize(torch.cat([place, torch.ones(3, 1).double()], dim=1), dim=1)
    torch.testing.assert_close(describe(cells, xy), expected)


def test_safetensors_hold_the_same(state, weights, tmp_path):
    save_file(state, tmp_path / "weights.safetensors")
    own, other = load_network(weights).state_dict(), load_network(tmp_path / "weights.safetensors").state_dict()
    assert all(torch.equal(own[name], other[name]) for name in own)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone.0.0.bn.num_batches_tracked": torch.tensor(1)}, "got 73: with backbone.0.0.bn.num_batches_tracked"),
        ({"detector.1.bn.bias": None}, r"got 71: without detector\.1\.bn\.bias"),
        ({"detector.1.bn.bias": torch.zeros(64)}, r"detector\.1\.bn\.bias: expected \(65,\) of torch\.float32, got"),
        ({"detector.1.bn.bias": torch.zeros(65).double()}, r"got \(65,\) of torch\.float64"),
        ({"detector.1.bn.bias": torch.full((65,), torch.nan)}, r"detector\.1\.bn\.bias: expected finite numbers"),
        ({"detector.1.bn.bias": "text"}, r"got str as detector\.1\.bn\.bias"),
    ],
)
def test_files_with_other_tensors_are_refused(state, tmp_path, change, message):
    changed = {name: value for name, value in {**state, **change}.items() if value is not None}
    torch.save(changed, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=message) as caught:
        SuperPointOpen(weights=str(tmp_path / "other.pth")).load(CPU)
    assert "other.pth" in str(caught.value)
    assert "\n" not in str(caught.value)


class Hostile:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_files_that_are_no_state_dict_are_refused_and_run_nothing(tmp_path):
    torch.save({"weights": Hostile(tmp_path / "executed")}, tmp_path / "hostile.pth")
    (tmp_path / "garbage.pth").write_bytes(b"nothing of the kind")
    (tmp_path / "garbage.safetensors").write_bytes(b"nothing of the kind")
    torch.save([1, 2, 3], tmp_path / "list.pth")
    for name in ("hostile.pth", "garbage.pth", "garbage.safetensors", "list.pth"):
        with pytest.raises(CheckpointError, match=name) as caught:
            load_network(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "executed").exists()


def test_absent_weights_come_with_the_command_that_fetches_them(tmp_path):
    with pytest.raises(MissingWeightsError, match=r"curl -fL --create-dirs -o '.*a b/none\.pth' https://github\.com/"):
        SuperPointOpen(weights=str(tmp_path / "a b/none.pth")).load(CPU)
    with pytest.raises(MissingWeightsError, match="got a folder"):
        SuperPointOpen(weights=str(tmp_path)).load(CPU)


def test_features_without_a_detector_use_the_open_weights_where_the_others_are_absent(weights, picture):
    absent, here = SuperPoint(pretrained="/nowhere/at/all"), SuperPointOpen(weights=str(weights), max_keypoints=40)
    detector = load_detector(Keypoints("auto", absent, here), CPU)
    assert detector.name == "keypoints of SuperPoint's open weights"
    assert len(detector.detect(picture)) == 40
    assert load_detector(Keypoints("superpoint_open", absent, here), CPU).identity == detector.identity
    with pytest.raises(MissingWeightsError):
        load_detector(Keypoints("superpoint_open", absent, SuperPointOpen(weights="/nowhere/at/all")), CPU)
