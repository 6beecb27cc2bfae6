"""Backgrounds: plain colours, gradients, procedural scenes, and textures and photographs that ship in pip packages.

A background is float32 `(side, side, 3)` in [0, 1] together with the words that a caption says about it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TypeVar

import cv2
import numpy as np
import skimage.data
from sklearn.datasets import load_sample_image

Background = tuple[np.ndarray, str]
T = TypeVar("T")

COLOURS = {
    "red": (0.85, 0.25, 0.25),
    "orange": (0.95, 0.6, 0.25),
    "yellow": (0.95, 0.88, 0.4),
    "green": (0.4, 0.72, 0.4),
    "turquoise": (0.35, 0.78, 0.75),
    "blue": (0.3, 0.5, 0.85),
    "purple": (0.6, 0.4, 0.8),
    "pink": (0.95, 0.65, 0.78),
    "brown": (0.52, 0.36, 0.25),
    "grey": (0.55, 0.55, 0.57),
    "white": (0.95, 0.95, 0.94),
    "black": (0.1, 0.1, 0.12),
}

# Upper and lower colour of a scene with a horizon.
SCENES = {
    "in a meadow": ((0.6, 0.82, 0.97), (0.42, 0.68, 0.3)),
    "at the sea": ((0.72, 0.88, 0.98), (0.15, 0.42, 0.65)),
    "in the desert": ((0.55, 0.78, 0.95), (0.9, 0.76, 0.5)),
    "in the snow": ((0.7, 0.78, 0.88), (0.95, 0.96, 0.98)),
    "on a table": ((0.9, 0.87, 0.8), (0.58, 0.38, 0.22)),
    "at night": ((0.06, 0.07, 0.2), (0.13, 0.16, 0.17)),
}

# A texture is grey in its package; the tint makes it the stuff of its name.
TEXTURES: dict[str, tuple[Callable[[], np.ndarray], tuple[float, float, float]]] = {
    "on grass": (skimage.data.grass, (0.75, 1.1, 0.45)),
    "on a brick wall": (skimage.data.brick, (1.25, 0.75, 0.6)),
    "on gravel": (skimage.data.gravel, (1.05, 1.0, 0.95)),
}

PHOTOGRAPHS: dict[str, Callable[[], np.ndarray]] = {
    "on a photograph of a temple": lambda: load_sample_image("china.jpg"),
    "on a photograph of a flower": lambda: load_sample_image("flower.jpg"),
    "on a photograph of a cup": skimage.data.coffee,
    "on a photograph of a cat": skimage.data.chelsea,
    "on a photograph of a launch": skimage.data.rocket,
    "on a photograph of stars": skimage.data.hubble_deep_field,
}


def plain(rng: np.random.Generator, side: int) -> Background:
    """One colour."""
    name, colour = _colour(rng)
    return np.broadcast_to(colour, (side, side, 3)).astype(np.float32), f"on a {name} background"


def gradient(rng: np.random.Generator, side: int) -> Background:
    """A linear change from one shade of a colour to another, in any direction."""
    name, colour = _colour(rng)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = np.linspace(-0.5, 0.5, side, dtype=np.float32)
    share = 0.5 + (np.cos(angle) * ramp[None, :] + np.sin(angle) * ramp[:, None]) / np.sqrt(2)
    darker, lighter = colour * rng.uniform(0.5, 0.8), colour + (1 - colour) * rng.uniform(0.2, 0.5)
    return _mix(darker, lighter, share), f"on a {name} gradient background"


def scene(rng: np.random.Generator, side: int) -> Background:
    """Two fields of colour with shading that meet at a horizon."""
    words, (upper, lower) = _choose(rng, SCENES)
    rows = np.linspace(0, 1, side, dtype=np.float32)[:, None]
    horizon = rng.uniform(0.4, 0.75)
    hills = rng.uniform(0, 0.04) * np.sin(np.linspace(0, rng.uniform(2, 9), side) + rng.uniform(0, 6))[None, :]
    below = np.clip((rows - horizon - hills) * side / 2 + 0.5, 0, 1).astype(np.float32)
    shades = rng.uniform(0.88, 1.08, 2)
    picture = _mix(np.float32(upper) * shades[0], np.float32(lower) * shades[1], below)
    shading = 1 + 0.15 * (np.where(rows < horizon, rows / horizon, (rows - horizon) / (1 - horizon)) - 0.5)
    return np.clip(picture * shading[..., None], 0, 1).astype(np.float32), words


def texture(rng: np.random.Generator, side: int) -> Background:
    """A crop of a tinted texture."""
    words, (load, tint) = _choose(rng, TEXTURES)
    crop = _crop(rng, _picture(load), side, smallest=0.35)
    return np.clip(crop * np.float32(tint) * np.float32(rng.uniform(0.8, 1.2)), 0, 1), words


def photograph(rng: np.random.Generator, side: int) -> Background:
    """A crop of a photograph, slightly out of focus."""
    words, load = _choose(rng, PHOTOGRAPHS)
    crop = _crop(rng, _picture(load), side, smallest=0.4)
    return cv2.GaussianBlur(crop, (0, 0), side * rng.uniform(0.004, 0.015)), words


KINDS: dict[str, Callable[[np.random.Generator, int], Background]] = {
    "plain": plain,
    "gradient": gradient,
    "scene": scene,
    "texture": texture,
    "photo": photograph,
}


def all_words() -> list[str]:
    """Every phrase that a background can add to a caption."""
    colours = [f"on a {name} {kind}" for name in COLOURS for kind in ("background", "gradient background")]
    return [*colours, *SCENES, *TEXTURES, *PHOTOGRAPHS]


def _choose(rng: np.random.Generator, table: dict[str, T]) -> tuple[str, T]:
    name = [*table][rng.integers(len(table))]
    return name, table[name]


def _colour(rng: np.random.Generator) -> tuple[str, np.ndarray]:
    """A colour's name and a slight variation of the colour, float32 `(3,)`."""
    name, colour = _choose(rng, COLOURS)
    return name, np.clip(np.float32(colour) + rng.normal(0, 0.03, 3).astype(np.float32), 0, 1)


def _mix(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """`(1 − share)·first + share·second` for colours `(3,)` and a share `(H, W)`: float32 `(H, W, 3)`."""
    return ((1 - share[..., None]) * first + share[..., None] * second).astype(np.float32)


@cache
def _picture(load: Callable[[], np.ndarray]) -> np.ndarray:
    """A packaged picture as float32 `(H, W, 3)` in [0, 1]."""
    picture = load().astype(np.float32) / 255
    return np.repeat(picture[..., None], 3, axis=2) if picture.ndim == 2 else picture


def _crop(rng: np.random.Generator, picture: np.ndarray, side: int, smallest: float) -> np.ndarray:
    """A random square crop of at least `smallest` times the short side, mirrored half the time, at `side` pixels."""
    height, width = picture.shape[:2]
    extent = max(side, int(min(height, width) * rng.uniform(smallest, 1)))
    extent = min(extent, height, width)
    top, left = rng.integers(height - extent + 1), rng.integers(width - extent + 1)
    crop = picture[top : top + extent, left : left + extent]
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    return cv2.resize(np.ascontiguousarray(crop), (side, side), interpolation=cv2.INTER_AREA)
