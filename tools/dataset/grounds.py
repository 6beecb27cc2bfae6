"""What lies behind the objects of a generated sample: float64 `(side, side, 3)` in [0, 1], smooth or textured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import ndimage

from rotationbench.pictures import open_picture

PHOTOS = Path(__file__).parents[2] / "data" / "photos"

Ground = Callable[[np.random.Generator, int], np.ndarray]

PAPERS = ((0.93, 0.89, 0.82), (0.80, 0.88, 0.93), (0.94, 0.82, 0.80), (0.83, 0.91, 0.80), (0.88, 0.84, 0.93))
WOODS = ((0.72, 0.52, 0.34), (0.60, 0.42, 0.28), (0.80, 0.64, 0.45))
CLOTHS = ((0.30, 0.45, 0.62), (0.62, 0.32, 0.33), (0.36, 0.52, 0.42))
SKIES = (((0.42, 0.66, 0.92), (0.82, 0.91, 0.98)), ((0.93, 0.62, 0.48), (0.99, 0.88, 0.72)))


def smooth_noise(rng: np.random.Generator, side: int, cells: int) -> np.ndarray:
    """Float64 `(side, side)`, mean about 0, with bumps of `side / cells` pixels."""
    grid = rng.standard_normal((cells + 3, cells + 3))
    at = np.linspace(1, cells + 1, side)
    return ndimage.map_coordinates(grid, np.meshgrid(at, at, indexing="ij"), order=3, mode="nearest")


def paper(rng: np.random.Generator, side: int) -> np.ndarray:
    """A sheet of one colour, lit from one side."""
    colour = np.array(PAPERS[rng.integers(len(PAPERS))])
    ramp = np.linspace(-1, 1, side)
    light = 1 + 0.05 * (ramp[None, :] * rng.uniform(-1, 1) + ramp[:, None] * rng.uniform(-1, 1))
    return np.clip(colour * (light + 0.012 * smooth_noise(rng, side, 6))[..., None], 0, 1)


def wood(rng: np.random.Generator, side: int) -> np.ndarray:
    """Planks with grain."""
    colour = np.array(WOODS[rng.integers(len(WOODS))])
    planks = int(rng.integers(3, 6))
    height = side // planks + 1
    rows = []
    for _ in range(planks):
        stretched = np.clip(np.linspace(0, 1, height)[:, None] * 9 + 0.5 * smooth_noise(rng, side, 4)[:height], 0, 9)
        phase = rng.uniform(0, 2 * np.pi)
        grain = 0.035 * np.sin(2 * np.pi * stretched + phase) + 0.02 * np.sin(14 * stretched + phase)
        plank = 1 + grain + rng.uniform(-0.08, 0.08)
        plank[-2:] *= 0.6
        rows.append(plank)
    shade = np.concatenate(rows)[:side]
    return np.clip(colour * shade[..., None], 0, 1)


def cloth(rng: np.random.Generator, side: int) -> np.ndarray:
    """A checked table cloth with soft folds."""
    colour = np.array(CLOTHS[rng.integers(len(CLOTHS))])
    period = int(rng.integers(48, 80))
    stripe = (np.arange(side) // (period // 2)) % 2
    check = (stripe[:, None] + stripe[None, :]) / 2
    cloth = colour * (1 - check[..., None]) + np.array([0.95, 0.94, 0.92]) * check[..., None]
    return np.clip(cloth * (1 + 0.05 * smooth_noise(rng, side, 3))[..., None], 0, 1)


def sand(rng: np.random.Generator, side: int) -> np.ndarray:
    """Rippled sand."""
    ripple = smooth_noise(rng, side, 5)
    rows = np.linspace(0, 1, side)[:, None]
    waves = 0.03 * np.sin(2 * np.pi * (rows * 16 + 0.5 * ripple))
    return np.clip(np.array([0.88, 0.78, 0.58]) * (1 + waves + 0.02 * ripple)[..., None], 0, 1)


def sky(rng: np.random.Generator, side: int) -> np.ndarray:
    """A sky with thin clouds."""
    high, low = (np.array(colour) for colour in SKIES[rng.integers(len(SKIES))])
    share = np.linspace(0, 1, side)[:, None, None]
    clouds = np.clip(smooth_noise(rng, side, 4) + 0.5 * smooth_noise(rng, side, 9) - 0.4, 0, 1.2)[..., None] * 0.35
    return (high * (1 - share) + low * share) * (1 - clouds) + clouds


def meadow(rng: np.random.Generator, side: int) -> np.ndarray:
    """Sky above a green hill."""
    return _horizon(rng, side, (0.46, 0.66, 0.34), (0.30, 0.52, 0.24))


def beach(rng: np.random.Generator, side: int) -> np.ndarray:
    """Sky above a sandy shore."""
    return _horizon(rng, side, (0.92, 0.83, 0.64), (0.80, 0.68, 0.48))


def room(rng: np.random.Generator, side: int) -> np.ndarray:
    """A wall above a table top."""
    wall = paper(rng, side)
    table = wood(rng, side)
    edge = int(side * rng.uniform(0.66, 0.72))
    picture = wall
    picture[edge:] = table[: side - edge]
    picture[edge : edge + 3] *= 0.8
    return picture


def wall(rng: np.random.Generator, side: int) -> np.ndarray:
    """A painted wall."""
    return paper(rng, side)


def gravel(rng: np.random.Generator, side: int) -> np.ndarray:
    """A photograph of gravel."""
    return _photographed(rng, side, "gravel.png", (1.05, 1.0, 0.93))


def grass(rng: np.random.Generator, side: int) -> np.ndarray:
    """A photograph of grass."""
    return _photographed(rng, side, "grass.png", (0.80, 1.08, 0.52))


def brick(rng: np.random.Generator, side: int) -> np.ndarray:
    """A photograph of a brick wall."""
    return _photographed(rng, side, "brick.png", (1.15, 0.80, 0.66))


def _horizon(
    rng: np.random.Generator, side: int, near: tuple[float, float, float], far: tuple[float, float, float]
) -> np.ndarray:
    picture = sky(rng, side)
    edge = side * rng.uniform(0.66, 0.72) + 8 * smooth_noise(rng, side, 3)[0]
    rows = np.arange(side)[:, None]
    share = np.clip((rows - side * 0.6) / (side * 0.4), 0, 1)[..., None]
    land = np.array(far) * (1 - share) + np.array(near) * share
    land = land * (1 + 0.03 * smooth_noise(rng, side, 24))[..., None]
    covered = np.clip(rows - edge + 0.5, 0, 1)[..., None]
    return picture * (1 - covered) + land * covered


def _photographed(rng: np.random.Generator, side: int, name: str, tint: tuple[float, float, float]) -> np.ndarray:
    grey = np.array(open_picture(PHOTOS / name).convert("L"), np.float64)[:side, :side] / 255
    if rng.integers(2):
        grey = grey[:, ::-1]
    grey = ndimage.gaussian_filter(grey, 1.0)
    contrast = 0.5 + 0.7 * (grey - grey.mean())
    return np.clip(contrast[..., None] * np.array(tint), 0, 1)


GROUNDS: dict[str, Ground] = {
    "paper": paper,
    "wood": wood,
    "cloth": cloth,
    "sand": sand,
    "sky": sky,
    "meadow": meadow,
    "beach": beach,
    "room": room,
    "wall": wall,
    "gravel": gravel,
    "grass": grass,
    "brick": brick,
}
TEXTURED = frozenset({"wood", "cloth", "gravel", "grass", "brick"})
