"""Diffusion features (DIFT, Tang et al., arXiv 2306.03881): what a UNet block says about each place of a picture."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from rotationbench.errors import ConfigError
from rotationbench.points import ImagePoints
from rotationbench.sample import resize_image

if TYPE_CHECKING:
    from rotationbench.diffusion.core import StableDiffusion

BAND_VALUES = 2**25
"""Feature values held at once while the features of a whole picture are searched: 128 MiB in float32."""


@dataclass
class DiftSettings:
    """Where in the diffusion model, and how, features are read. The defaults are those for correspondence of points.

    Args:
        timestep: t, the noise level, from 0 to 999.
        up_block: the up block whose output is read, counted from 0.
        ensemble: noise draws whose features are averaged.
        resolution: side in pixels of the square that the picture is resized to; None keeps the picture's own size, up
            to whole latent cells.
        prompt: text that conditions the UNet.
        batch: latents per UNet evaluation at most; it bounds memory and changes nothing else.

    Raises:
        ConfigError: when a value lies outside its range.
    """

    timestep: int = 261
    up_block: int = 1
    ensemble: int = 8
    resolution: int | None = None
    prompt: str = ""
    batch: int = 8

    def __post_init__(self) -> None:
        for name, lowest, highest in (
            ("timestep", 0, 999),
            ("up_block", 0, 3),
            ("ensemble", 1, 1000),
            ("resolution", 8, 8192),
            ("batch", 1, 1000),
        ):
            value = getattr(self, name)
            if value is None and name == "resolution":
                continue
            if not lowest <= value <= highest:
                raise ConfigError(f"dift.{name}: expected {lowest} to {highest}, got {value}.")


@torch.no_grad()
def dift_features(
    core: StableDiffusion,
    image: np.ndarray,
    settings: DiftSettings | None = None,
    *,
    seed: int = 0,
    noise_of: str | None = None,
    posterior_mean: bool = False,
) -> torch.Tensor:
    """Diffusion features of a picture: a posterior sample, noised to t once per ensemble member; their mean counts.

    The members share one posterior sample, so that the picture is encoded once: the spread of Stable Diffusion's
    posteriors is small beside the noise, even at t = 0.

    The noise depends on the seed and on what it is drawn for: by default the picture's content, so that two pictures
    never share it, which would draw correspondences towards "nothing moved". Where a picture is itself the outcome of
    rounding, it is better drawn for what the picture stands for: one level of one pixel would make it another noise.

    Args:
        core: the diffusion model.
        image: uint8 `(H, W, 3)`, RGB.
        settings: block, timestep and ensemble; None means the defaults.
        seed: seed of the noise.
        noise_of: what the noise is drawn for, and shared by; None means the picture's content.
        posterior_mean: whether the posterior's mean takes the place of the sample.

    Returns:
        float32 `(1, C, h, w)` on the core's device, at the block's own resolution.
    """
    settings = settings or DiftSettings()
    drawn_for = content_of(image) if noise_of is None else noise_of.encode()
    generator = torch.Generator().manual_seed(_noise_seed(drawn_for, seed))
    tensor = _as_input(core, image, settings.resolution)
    latents = core.encode(tensor) if posterior_mean else core.sample_posterior(tensor, generator)
    latents = latents.expand(settings.ensemble, -1, -1, -1)
    noise = torch.randn(latents.shape, generator=generator).to(latents)
    timestep = torch.tensor(settings.timestep, device=latents.device)
    noised = core.scheduler.add_noise(latents, noise, timestep)
    context = core.embed(settings.prompt)
    members = [core.features(chunk, timestep, context, settings.up_block + 1) for chunk in noised.split(settings.batch)]
    return torch.cat(members).mean(dim=0, keepdim=True)


def sample_features(features: torch.Tensor, points: ImagePoints, image_size: tuple[int, int]) -> torch.Tensor:
    """Features at points of the picture, as if the features had been resized to the picture bilinearly.

    Args:
        features: `(1, C, h, w)`, covering the whole picture.
        points: `N` points in image pixels; an integer coordinate is the centre of its pixel.
        image_size: `(height, width)` of the picture in pixels.

    Returns:
        `(N, C)`, on the device of `features`.
    """
    height, width = image_size
    xy = torch.from_numpy(points.xy.copy()).to(features)
    # `grid_sample` puts −1 and 1 at the outer edges of the outermost pixels, half a pixel from their centres.
    grid = (2 * xy + 1) / xy.new_tensor([width, height]) - 1
    sampled = F.grid_sample(features, grid[None, None], mode="bilinear", padding_mode="border", align_corners=False)
    return sampled[0, :, 0].T


@torch.no_grad()
def correspond(
    source_features: torch.Tensor,
    target_features: torch.Tensor,
    points: ImagePoints,
    source_size: tuple[int, int],
    target_size: tuple[int, int] | None = None,
    *,
    within: np.ndarray | None = None,
) -> ImagePoints:
    """For each point, the pixel of the target picture whose feature is most similar (cosine) to the point's own.

    Features are compared as if resized to their pictures bilinearly. All points share one pass over the target, in
    bands of rows, so that memory does not grow with the picture.

    Args:
        source_features: `(1, C, h, w)` of the source picture.
        target_features: `(1, C, h', w')` of the target picture.
        points: `N` points of the source picture, in image pixels.
        source_size: `(height, width)` of the source picture in pixels.
        target_size: `(height, width)` of the target picture in pixels; None means that of the source.
        within: bool `(N, height, width)` of the target picture: where to look for each point; None means everywhere.

    Returns:
        `N` pixels of the target picture; of equally similar ones the first in reading order.

    Raises:
        ValueError: when `within` has another shape or leaves a point nowhere to look.
    """
    height, width = target_size or source_size
    if within is not None:
        if within.shape != (len(points), height, width):
            raise ValueError(f"Expected within of shape {(len(points), height, width)}, got {within.shape}.")
        if not within.any(axis=(1, 2)).all():
            raise ValueError("Expected every point to have a place to look at in `within`, got one without.")
    if len(points) == 0:
        return points
    wanted = F.normalize(sample_features(source_features, points, source_size), dim=1)
    best = wanted.new_full((len(points),), -torch.inf)
    best_index = torch.zeros(len(points), dtype=torch.long, device=wanted.device)
    rows = max(1, BAND_VALUES // (width * target_features.shape[1]))
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        y, x = np.mgrid[top:bottom, :width]
        pixels = ImagePoints(np.stack([x, y], axis=-1).reshape(-1, 2))
        band = F.normalize(sample_features(target_features, pixels, (height, width)), dim=1)
        similarity = wanted @ band.T
        if within is not None:
            allowed = torch.from_numpy(within[:, top:bottom].reshape(len(points), -1)).to(similarity.device)
            similarity = similarity.masked_fill(~allowed, -torch.inf)
        value, index = similarity.max(dim=1)
        better = value > best
        best = torch.where(better, value, best)
        best_index = torch.where(better, index + top * width, best_index)
    flat = best_index.cpu().numpy()
    return ImagePoints(np.stack([flat % width, flat // width], axis=1))


def _as_input(core: StableDiffusion, image: np.ndarray, resolution: int | None) -> torch.Tensor:
    """`(1, 3, H', W')` in [-1, 1] on the core's device, with sides that are whole latent cells."""
    cell = core.vae_factor
    extents = image.shape[:2] if resolution is None else (resolution, resolution)
    height, width = (max(1, round(extent / cell)) * cell for extent in extents)
    return core.image_tensor(resize_image(image, (height, width)))


def content_of(image: np.ndarray) -> bytes:
    """Shape and values of a picture in one."""
    return str(image.shape).encode() + np.ascontiguousarray(image).tobytes()


def _noise_seed(drawn_for: bytes, seed: int) -> int:
    """A 63-bit seed that differs with the seed and with what the noise is drawn for."""
    return int.from_bytes(hashlib.sha256(f"{seed} ".encode() + drawn_for).digest()[:8], "big") >> 1
