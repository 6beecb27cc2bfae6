"""Pictures made of layers: sprites that are resampled once, from their original, at every pose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from rotationbench.pictures import open_picture
from rotationbench.rotation import turn_points

SUPERSAMPLING = 2
"""Samples per pixel and axis when a sprite is drawn."""
BORDER = 4
"""Transparent pixels around a sprite, so that interpolation at its edge fades out."""


@dataclass(frozen=True, eq=False)
class CutOut:
    """A cut-out picture.

    Args:
        rgba: float64 `(h, w, 4)` in [0, 1], colours multiplied by alpha.
    """

    rgba: np.ndarray

    @classmethod
    def read(cls, path: Path) -> CutOut:
        """The sprite in a picture file with transparency."""
        rgba = np.array(open_picture(path).convert("RGBA"), np.float64) / 255
        rgba[..., :3] *= rgba[..., 3:]
        return cls(rgba)

    @property
    def alpha(self) -> np.ndarray:
        """Float64 `(h, w)` in [0, 1]."""
        return self.rgba[..., 3]

    def times(self, weight: np.ndarray) -> CutOut:
        """The sprite with its alpha multiplied by `weight (h, w)`."""
        return CutOut(self.rgba * weight[..., None])

    def over(self, other: CutOut) -> CutOut:
        """The sprite laid over another of the same size."""
        return CutOut(self.rgba + other.rgba * (1 - self.alpha[..., None]))


@dataclass(frozen=True, eq=False)
class Layer:
    """A sprite in a picture.

    Args:
        sprite: what is drawn.
        anchor: (x, y) in the sprite's pixels that comes to lie at `position`.
        position: (x, y) in the picture's pixels.
        scale: picture pixels per sprite pixel.
        angle: degrees, clockwise on the screen.
        moves: whether the edit turns it.
    """

    sprite: CutOut
    anchor: tuple[float, float]
    position: tuple[float, float]
    scale: float
    angle: float
    moves: bool = False

    def turned(self, pivot: tuple[float, float], angle: float) -> Layer:
        """The layer after a turn by `angle` degrees about `pivot` in the picture, clockwise on the screen."""
        x, y = turn_points(np.array([self.position]), pivot, angle)[0]
        return replace(self, position=(float(x), float(y)), angle=self.angle + angle)

    def to_picture(self, points: np.ndarray) -> np.ndarray:
        """Where `points (N, 2)` of the sprite lie in the picture."""
        return turn_points((points - self.anchor) * self.scale, (0.0, 0.0), self.angle) + self.position

    def drawn(self, size: tuple[int, int]) -> np.ndarray:
        """Float64 `size + (4,)`: the layer alone, colours multiplied by alpha."""
        height, width = size
        canvas = np.zeros((height, width, 4))
        h, w = self.sprite.rgba.shape[:2]
        corners = self.to_picture(
            np.array([[-BORDER, -BORDER], [w + BORDER, -BORDER], [-BORDER, h + BORDER], [w + BORDER, h + BORDER]])
        )
        left, top = np.maximum(np.floor(corners.min(axis=0)).astype(int), 0)
        right, bottom = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 1, [width, height])
        if left >= right or top >= bottom:
            return canvas
        fine = (np.arange(SUPERSAMPLING) + 0.5) / SUPERSAMPLING - 0.5
        ys = (np.arange(top, bottom)[:, None] + fine).ravel()
        xs = (np.arange(left, right)[:, None] + fine).ravel()
        grid = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
        there = turn_points(grid - self.position, (0.0, 0.0), -self.angle) / self.scale + self.anchor + BORDER
        padded = np.pad(self.sprite.rgba, ((BORDER, BORDER), (BORDER, BORDER), (0, 0)))
        values = np.stack(
            [ndimage.map_coordinates(padded[..., channel], there.T[::-1], order=3) for channel in range(4)], axis=-1
        )
        values = values.reshape(bottom - top, SUPERSAMPLING, right - left, SUPERSAMPLING, 4).mean(axis=(1, 3))
        # Cubic interpolation overshoots at edges.
        alpha = np.clip(values[..., 3:], 0, 1)
        canvas[top:bottom, left:right] = np.concatenate([np.clip(values[..., :3], 0, alpha), alpha], axis=-1)
        return canvas


@dataclass(frozen=True)
class Thing:
    """Layers that belong together and cast one shadow.

    Args:
        layers: from back to front.
        shadow: strength of the shadow that falls on what lies behind, 0 to 1.
        contact: x, y, half width and half height of a dark patch on the ground, or None.
    """

    layers: tuple[Layer, ...]
    shadow: float = 0.0
    contact: tuple[float, float, float, float] | None = None

    def turned(self, pivot: tuple[float, float], angle: float) -> Thing:
        """The thing after its moving layers made a turn about `pivot`, clockwise on the screen."""
        return replace(self, layers=tuple(ly.turned(pivot, angle) if ly.moves else ly for ly in self.layers))


SHADOW_OFFSET = (6, 9)
"""Pixels to the right and down from a thing to its shadow."""
SHADOW_SOFTNESS = 6.0
"""Standard deviation in pixels of the blur of shadows."""
CONTACT_STRENGTH = 0.45


def composed(ground: np.ndarray, things: Sequence[Thing]) -> tuple[np.ndarray, np.ndarray]:
    """The things, first to last, on the ground.

    Args:
        ground: float64 `(H, W, 3)` in [0, 1].
        things: from back to front.

    Returns:
        uint8 `(H, W, 3)`, and bool `(H, W)`: where moving layers are seen.
    """
    picture = ground.copy()
    size = ground.shape[0], ground.shape[1]
    rows, columns = np.mgrid[: size[0], : size[1]]
    seen = np.zeros(size)
    for thing in things:
        drawn = [layer.drawn(size) for layer in thing.layers]
        if thing.contact is not None:
            x, y, half_width, half_height = thing.contact
            distance = np.hypot((columns - x) / half_width, (rows - y) / half_height)
            picture *= 1 - CONTACT_STRENGTH * np.clip(1.3 - distance, 0, 1)[..., None]
        if thing.shadow:
            alpha = 1 - np.prod([1 - layer[..., 3] for layer in drawn], axis=0)
            fallen = ndimage.gaussian_filter(ndimage.shift(alpha, SHADOW_OFFSET[::-1], order=0), SHADOW_SOFTNESS)
            picture *= 1 - thing.shadow * fallen[..., None]
        for layer, rgba in zip(thing.layers, drawn, strict=True):
            clear = 1 - rgba[..., 3]
            picture = rgba[..., :3] + picture * clear[..., None]
            seen = rgba[..., 3] + seen * clear if layer.moves else seen * clear
    return np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8), seen > 0.5
