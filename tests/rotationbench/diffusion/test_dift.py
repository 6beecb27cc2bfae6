from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler

from rotationbench.diffusion import dift
from rotationbench.diffusion.dift import DiftSettings, correspond, dift_features, sample_features
from rotationbench.errors import ConfigError
from rotationbench.points import ImagePoints


class PoolingCore:
    """Stands in for a diffusion model: latents are averaged pixels with some noise, features the latents themselves."""

    vae_factor = 8
    device = torch.device("cpu")
    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")

    def __init__(self, posterior_std: float = 0.0) -> None:
        self.posterior_std = posterior_std
        self.calls: list[SimpleNamespace] = []

    def image_tensor(self, image: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1

    def sample_posterior(self, image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        latents = F.avg_pool2d(image, self.vae_factor)
        return latents + self.posterior_std * torch.randn(latents.shape, generator=generator)

    def embed(self, prompt: str) -> torch.Tensor:
        return torch.full((1, 77, 4), float(len(prompt)))

    def features(
        self, latents: torch.Tensor, timestep: torch.Tensor, context: torch.Tensor, index: int
    ) -> torch.Tensor:
        self.calls.append(SimpleNamespace(latents=latents, timestep=int(timestep), context=context, index=index))
        return latents


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def test_an_ensemble_is_one_evaluation_of_the_named_block(picture):
    core = PoolingCore()
    features = dift_features(core, picture, DiftSettings(timestep=261, up_block=2, ensemble=5, prompt="cat"))
    (call,) = core.calls
    assert features.shape == (1, 3, 6, 8)
    assert call.latents.shape[0] == 5
    assert (call.timestep, call.index) == (261, 3)
    assert call.context[0, 0, 0] == 3


def test_features_are_the_mean_over_noised_latents(picture):
    settings = DiftSettings(timestep=600, ensemble=1000, batch=500)
    features = dift_features(PoolingCore(), picture, settings)
    clean = F.avg_pool2d(torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1, 8)
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    signal = float(np.cumprod(1 - betas)[600]) ** 0.5
    spread = (1 - signal**2) ** 0.5 / 1000**0.5
    error = (features - signal * clean) / spread
    assert error.abs().max() < 5
    assert 0.8 < error.std() < 1.2


def test_the_size_of_a_batch_changes_nothing_else(picture):
    whole = dift_features(PoolingCore(0.1), picture, DiftSettings(ensemble=8, batch=8))
    core = PoolingCore(0.1)
    parts = dift_features(core, picture, DiftSettings(ensemble=8, batch=3))
    assert [call.latents.shape[0] for call in core.calls] == [3, 3, 2]
    torch.testing.assert_close(parts, whole)


def test_noise_is_decided_by_seed_and_content(picture):
    settings = DiftSettings(ensemble=1)
    first = dift_features(PoolingCore(), picture, settings, seed=1)
    torch.testing.assert_close(dift_features(PoolingCore(), picture.copy(), settings, seed=1), first, rtol=0, atol=0)
    assert not torch.allclose(dift_features(PoolingCore(), picture, settings, seed=2), first)
    other = picture.copy()
    other[0, 0, 0] ^= 1
    assert not torch.allclose(dift_features(PoolingCore(), other, settings, seed=1), first, atol=0.1)


def test_noise_can_be_drawn_for_what_a_picture_stands_for(picture):
    settings = DiftSettings(timestep=600, ensemble=1)
    other = picture.copy()
    other[0, 0, 0] ^= 1
    first = dift_features(PoolingCore(), picture, settings, noise_of="edit")
    # One level of one of 64 pixels.
    torch.testing.assert_close(dift_features(PoolingCore(), other, settings, noise_of="edit"), first, rtol=0, atol=1e-3)
    assert not torch.allclose(dift_features(PoolingCore(), picture, settings, noise_of="source"), first, atol=0.1)
    assert not torch.allclose(dift_features(PoolingCore(), picture, settings, seed=1, noise_of="edit"), first, atol=0.1)


def test_sides_become_whole_latent_cells(picture):
    assert dift_features(PoolingCore(), picture[:45, :61], DiftSettings(ensemble=1)).shape == (1, 3, 6, 8)
    square = dift_features(PoolingCore(), picture, DiftSettings(ensemble=1, resolution=96))
    assert square.shape == (1, 3, 12, 12)


@pytest.mark.parametrize(
    ("name", "value"), [("timestep", 1000), ("up_block", -1), ("up_block", 4), ("ensemble", 0), ("resolution", 4)]
)
def test_settings_out_of_range_are_named(name, value):
    with pytest.raises(ConfigError, match=rf"dift\.{name}.*{value}"):
        DiftSettings(**{name: value})


def test_sampling_equals_resizing_to_the_picture_and_reading_pixels():
    features = torch.randn(1, 5, 6, 8, generator=torch.Generator().manual_seed(0))
    resized = F.interpolate(features, size=(45, 61), mode="bilinear", align_corners=False)
    points = ImagePoints.of([(0, 0), (60, 44), (17, 3), (30, 22)])
    sampled = sample_features(features, points, (45, 61))
    expected = torch.stack([resized[0, :, int(y), int(x)] for x, y in points.xy])
    torch.testing.assert_close(sampled, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("band_values", [1, 5 * 61 * 7, 2**25])
def test_correspondences_equal_a_search_over_the_resized_features(monkeypatch, band_values):
    monkeypatch.setattr(dift, "BAND_VALUES", band_values)
    generator = torch.Generator().manual_seed(1)
    source, target = torch.randn(1, 5, 6, 8, generator=generator), torch.randn(1, 5, 9, 7, generator=generator)
    points = ImagePoints.of([(2, 3), (40, 31), (63, 47), (11, 0)])
    found = correspond(source, target, points, (48, 64), (45, 61))
    source_map = F.interpolate(source, size=(48, 64), mode="bilinear", align_corners=False)
    target_map = F.interpolate(target, size=(45, 61), mode="bilinear", align_corners=False)
    for (x, y), (found_x, found_y) in zip(points.xy.astype(int), found.xy.astype(int), strict=True):
        similarity = F.cosine_similarity(source_map[:, :, y, x, None, None], target_map)[0]
        assert similarity[found_y, found_x] == pytest.approx(similarity.max().item(), abs=1e-5)


def test_points_are_found_where_the_content_went(picture):
    picture = np.kron(picture[:6, :8], np.ones((8, 8, 1), dtype=np.uint8))
    moved = np.roll(picture, (16, 8), axis=(0, 1))
    settings = DiftSettings(timestep=0, ensemble=4)
    core = PoolingCore()
    source, target = dift_features(core, picture, settings), dift_features(core, moved, settings)
    points = ImagePoints.of([(12, 12), (28, 20)])
    found = correspond(source, target, points, (48, 64))
    assert np.abs(found.xy - points.xy - np.array([8, 16])).max() <= 2


def test_the_search_stays_within_its_region():
    generator = torch.Generator().manual_seed(2)
    source, target = torch.randn(1, 4, 8, 8, generator=generator), torch.randn(1, 4, 8, 8, generator=generator)
    within = np.zeros((2, 32, 32), dtype=bool)
    within[0, :10, :10] = True
    within[1, 25, 7] = True
    found = correspond(source, target, ImagePoints.of([(3, 3), (20, 20)]), (32, 32), within=within)
    assert (found.xy[0] < 10).all()
    assert found.xy[1].tolist() == [7, 25]


def test_a_region_of_another_shape_or_empty_is_refused():
    features = torch.randn(1, 4, 8, 8)
    points = ImagePoints.of([(3, 3)])
    with pytest.raises(ValueError, match=r"\(1, 32, 32\).*\(1, 16, 16\)"):
        correspond(features, features, points, (32, 32), within=np.ones((1, 16, 16), dtype=bool))
    with pytest.raises(ValueError, match="place to look"):
        correspond(features, features, points, (32, 32), within=np.zeros((1, 32, 32), dtype=bool))


def test_no_points_have_no_correspondences():
    features = torch.randn(1, 4, 8, 8)
    assert len(correspond(features, features, ImagePoints.of([]), (32, 32))) == 0
