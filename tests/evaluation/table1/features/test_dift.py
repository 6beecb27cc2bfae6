from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler

from evaluation.table1.features.base import Runtime
from evaluation.table1.features.dift import Dift, DiftExtractor, turn
from evaluation.table1.features.keypoints import Keypoints, detect_corners
from evaluation.table1.matching import mutual_nearest
from rotationbench.config import ModelConfig
from rotationbench.diffusion.dift import DiftSettings
from rotationbench.errors import ConfigError

CPU = Runtime(ModelConfig(name="none", pretrained="none"), device="cpu")


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
