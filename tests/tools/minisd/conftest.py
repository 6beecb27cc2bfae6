"""Synthetic objects, a recipe of toy size, and pictures as the npm package has them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tools.minisd.recipe import (
    AutoencoderRecipe,
    Composition,
    DenoiserRecipe,
    EvaluationRecipe,
    Recipe,
)
from tools.minisd.sprites import (
    Sprite,
    Thing,
)


def half_disc(colour: tuple[float, float, float], side: int = 40) -> np.ndarray:
    """The upper half of a disc, RGB multiplied by alpha, float32 `(side, side, 4)`."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    alpha = ((np.hypot(x, y) < side / 2) & (y < 0)).astype(np.float32)
    return np.dstack([*(alpha * channel for channel in colour), alpha]).astype(np.float32)


@pytest.fixture(scope="module")
def sprites() -> list[Sprite]:
    colours = {"red apple": (0.9, 0.2, 0.1), "blue egg": (0.1, 0.3, 0.9), "green hat": (0.1, 0.8, 0.2)}
    return [
        Sprite(Thing(f"1f9{index:02x}", "thing", name), half_disc(colour))
        for index, (name, colour) in enumerate(colours.items())
    ]


@pytest.fixture
def recipe() -> Recipe:
    return Recipe(
        composition=Composition(side=32),
        autoencoder=AutoencoderRecipe(
            channels=(8, 8, 16), norm_groups=1, crop=16, batch=2, steps=2, perceptual_weight=0.0
        ),
        denoiser=DenoiserRecipe(
            channels=(8, 8, 16, 16),
            norm_groups=4,
            text_width=16,
            text_layers=1,
            vocabulary=560,
            pictures=8,
            batch=2,
            steps=4,
        ),
        evaluation=EvaluationRecipe(ensemble=1),
        save_every=2,
        sheet_every=100,
    )


@pytest.fixture
def assets(tmp_path):
    """A folder of pictures as the npm package has it: one plain object, one that is held out, and one of two points."""
    folder = tmp_path / "assets"
    folder.mkdir()
    straight = half_disc((1.0, 0.5, 0.0))
    straight[..., :3] = np.float32([1.0, 0.5, 0.0])
    picture = Image.fromarray((straight * 255).astype(np.uint8), "RGBA")
    for stem in ("1f528", "270f-fe0f", "2708-fe0f", "1f527", "1f44d-1f3fb", "1f600"):
        picture.save(folder / f"{stem}.webp", lossless=True)
    return folder
