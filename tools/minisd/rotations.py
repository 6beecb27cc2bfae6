"""Samples that ask for a turn of an object in the embedded model's world, with the exact result."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from rotationbench.points import ImagePoints
from rotationbench.sample import DragSample, SampleMeta
from tools.dataset.geometry import painted_mask
from tools.minisd.backgrounds import KINDS
from tools.minisd.compose import Placement, caption, draw_object, random_placement
from tools.minisd.recipe import Composition
from tools.minisd.sprites import Sprite

TURNS = (20.0, 60.0)
"""Smallest and largest turn in degrees, in either direction."""
LEAN = 10.0
"""Degrees by which an object may lean before the edit."""
REACH = 0.85
"""Distance of the handles from the pivot, as a share of the object's farthest point."""
APART = 120.0
"""Smallest angle in degrees between the two handles, seen from the pivot."""
MARGIN = 1 / 26
"""Border of the mask around the swept region, as a share of the picture's side."""
LICENCE = "MIT (objects: Microsoft Fluent Emoji); CC0-1.0 (grounds)"


def rotation_sample(
    rng: np.random.Generator, sprite: Sprite, settings: Composition, name: str, split: str | None = None
) -> DragSample:
    """A turn of 20° to 60° about the object's centre: two handles at its far ends, the pivot, and the exact result.

    The picture is one of the settings' world: its sizes and places, on a plain ground or a gradient.
    """
    angle = round(float(rng.uniform(*TURNS) * rng.choice([-1, 1])), 1)
    kind = ("plain", "gradient")[rng.integers(2)]
    ground, words = KINDS[kind](rng, settings.side)
    place = random_placement(rng, settings)
    # Whole pixels, so that the pivot pair in the sample's file is the centre of the turn.
    pivot = float(round(place.centre[0])), float(round(place.centre[1]))
    before = replace(place, centre=pivot, angle=float(rng.uniform(-LEAN, LEAN)))
    after = replace(before, angle=before.angle + angle)
    thing, thing_after = (_silhouette(sprite, placement, settings.side) for placement in (before, after))
    handles = on_picture(far_ends(sprite), before, sprite)
    targets = on_picture(far_ends(sprite), after, sprite)
    return DragSample(
        name=name,
        image=draw_object(ground, sprite, before),
        prompt=caption(sprite.thing.name, words),
        sources=ImagePoints(np.round(np.vstack([handles.xy, pivot]))),
        targets=ImagePoints(np.round(np.vstack([targets.xy, pivot]))),
        mask=painted_mask(thing, pivot, angle, round(MARGIN * settings.side)),
        target=draw_object(ground, sprite, after),
        meta=SampleMeta(
            split=split,
            category=sprite.thing.category,
            licence=LICENCE,
            source=f"composed by tools.minisd.rotations from Fluent Emoji {sprite.thing.codepoint}",
            pivot=pivot,
            angle=angle,
            difficulty="easy",
            object_mask=thing,
            object_mask_target=thing_after,
            extra={"kind": "whole", "pivot_given": True, "ground": kind, "object": sprite.thing.name},
        ),
        pix_step=160,
    )


def rotation_samples(
    sprites: list[Sprite], settings: Composition, count: int, seed: tuple[int, ...], split: str | None = None
) -> list[DragSample]:
    """`count` drags, the objects in turn; each depends on the seed and its own number alone."""
    samples = []
    for index in range(count):
        sprite = sprites[index % len(sprites)]
        name = f"{index:02d}-{sprite.thing.name.replace(' ', '-')}"
        samples.append(rotation_sample(np.random.default_rng((*seed, index)), sprite, settings, name, split))
    return samples


def on_picture(points: np.ndarray, placement: Placement, sprite: Sprite) -> ImagePoints:
    """Points `(N, 2)` of the sprite where `placement` puts them in the picture."""
    matrix = placement.matrix(sprite.rgba.shape[0])
    return ImagePoints(points @ matrix[:, :2].T + matrix[:, 2])


def far_ends(sprite: Sprite) -> np.ndarray:
    """Two opaque pixels far from the sprite's centre and on different sides of it, float64 `(2, 2)`, `(x, y)`."""
    solid = cv2.erode((sprite.rgba[..., 3] > 0.9).astype(np.uint8), np.ones((7, 7), np.uint8))
    rows, columns = np.nonzero(solid)
    offsets = np.column_stack([columns, rows]).astype(np.float64) - (sprite.rgba.shape[0] - 1) / 2
    distances = np.linalg.norm(offsets, axis=1)
    first = int(np.argmin(np.abs(distances - REACH * distances.max())))
    cosines = offsets @ offsets[first] / np.maximum(distances * distances[first], 1e-9)
    opposite = np.where(cosines <= np.cos(np.deg2rad(APART)), distances, 0.0)
    second = int(np.argmin(np.abs(opposite - REACH * opposite.max())))
    return np.column_stack([columns, rows])[[first, second]].astype(np.float64)


def _silhouette(sprite: Sprite, placement: Placement, side: int) -> np.ndarray:
    """Bool `(side, side)`: where the object is."""
    covered = Sprite(sprite.thing, np.repeat(sprite.rgba[..., 3:], 4, axis=2))
    return draw_object(np.zeros((side, side, 3), np.float32), covered, placement)[..., 0] > 127
