from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler
from PIL import Image
from safetensors.torch import save_file
from transformers import SuperPointConfig, SuperPointForKeypointDetection

from evaluation.table1.features import superpoint
from evaluation.table1.features.base import Runtime
from evaluation.table1.features.dift import Dift, DiftExtractor, turn
from evaluation.table1.features.keypoints import Keypoints, detect_corners, load_detector
from evaluation.table1.features.sift import Sift, root_sift
from evaluation.table1.features.superpoint import ORIGINAL_NAMES, SuperPoint, load_superpoint, original_names
from evaluation.table1.matching import mutual_nearest
from rotationbench.config import ModelConfig, project_root
from rotationbench.diffusion.dift import DiftSettings
from rotationbench.errors import CheckpointError, ConfigError, MissingWeightsError

CPU = Runtime(ModelConfig(name="none", pretrained="none"), device="cpu")


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    image = np.asarray(Image.open(project_root() / "data/photos/astronaut.png").convert("RGB"))
    return np.ascontiguousarray(image[100:340, 100:420])


@pytest.fixture(scope="module")
def random_superpoint() -> SuperPointForKeypointDetection:
    torch.manual_seed(0)
    config = SuperPointConfig(encoder_hidden_sizes=[64, 64, 128, 128], keypoint_threshold=0.0)
    return SuperPointForKeypointDetection(config).eval()


@pytest.fixture(scope="module")
def superpoint_folder(random_superpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("superpoint")
    random_superpoint.save_pretrained(folder)
    return folder


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


class PictureCore:
    """Stands in for a diffusion model whose features are the picture in small: they turn as the picture turns."""

    vae_factor, resolution, model_hash, dtype = 8, 128, "picture", torch.float32
    scheduler = DDIMScheduler()

    def image_tensor(self, image: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1

    def sample_posterior(self, image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return F.avg_pool2d(image, 4)

    def embed(self, prompt: str) -> torch.Tensor:
        return torch.zeros(1, 77, 4)

    def features(self, latents, timestep, context, index) -> torch.Tensor:
        return F.unfold(F.pad(latents, [3] * 4, mode="reflect"), 7).unflatten(2, latents.shape[2:])


def dift_extractor(views: int, **changes) -> DiftExtractor:
    settings = Dift(
        dift=DiftSettings(timestep=0, up_block=2, ensemble=2, **changes), keypoints=Keypoints("corners"), views=views
    )
    return DiftExtractor(settings, PictureCore(), CPU)


def test_dift_has_one_view_of_the_corners(photo):
    features = dift_extractor(1, resolution=256).reference(photo)
    assert features.descriptors.shape == (1, len(features.keypoints), 3 * 49)
    np.testing.assert_array_equal(features.keypoints, detect_corners(photo, 1000, 4))
    assert features.visible.all()


def test_dift_works_at_768_px_or_twice_what_the_model_is_made_for():
    assert dift_extractor(1).identity["resolution"] == 256
    assert dift_extractor(1, resolution=64).identity["resolution"] == 64
    large = SimpleNamespace(resolution=512, model_hash="", dtype=torch.float32)
    assert DiftExtractor(Dift(keypoints=Keypoints("corners")), large, CPU).identity["resolution"] == 768


def test_turning_a_picture_takes_its_keypoints_along():
    image = np.zeros((101, 141, 3), dtype=np.uint8)
    cv2.circle(image, (100, 50), 4, (255, 255, 255), -1)
    turned, (place,) = turn(image, np.array([[100.0, 50.0]]), 90)
    np.testing.assert_allclose(place, [70, 80], atol=1e-9)
    rows, columns = np.nonzero(turned[:, :, 0] > 127)
    np.testing.assert_allclose([columns.mean(), rows.mean()], place, atol=0.05)
    unchanged, (same,) = turn(image, np.array([[100.0, 50.0]]), 0)
    assert unchanged is image
    assert same.tolist() == [100, 50]


def test_turned_views_cure_rotation(photo):
    """Features that turn with the picture match after a quarter of a turn only when the reference is turned, too."""
    square = np.ascontiguousarray(photo[:240, :240])
    quarter = np.ascontiguousarray(np.rot90(square, -1))
    correct = {}
    for views in (1, 4):
        extractor = dift_extractor(views, resolution=240)
        reference, warped = extractor.reference(square), extractor.warped(quarter)
        assert reference.descriptors.shape[0] == views
        assert warped.descriptors.shape[0] == 1
        matches = mutual_nearest(
            reference.descriptors, warped.descriptors[0], metric="cosine", visible=reference.visible
        ).numpy()
        x, y = reference.keypoints[matches[:, 0]].T
        expected = np.column_stack([239 - y, x])
        correct[views] = (np.abs(expected - warped.keypoints[matches[:, 1]]).max(axis=1) <= 2).sum()
    assert correct[4] > 100
    assert correct[4] > 5 * correct[1]


def test_a_view_hides_what_it_turns_out_of_the_picture(photo):
    features = dift_extractor(4, resolution=128).reference(photo)
    visible = features.visible.numpy()
    assert visible[0].all()
    assert visible[2].all()
    # A quarter of a turn leaves a disc and a bit of a picture wider than high in sight.
    x = features.keypoints[:, 0] - 159.5
    np.testing.assert_array_equal(visible[1], np.abs(x) <= 120)


def test_no_views_are_refused():
    with pytest.raises(ConfigError, match="views"):
        Dift(views=0)
