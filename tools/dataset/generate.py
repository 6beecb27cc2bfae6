"""Build the generated split: rendered objects on drawn or photographed grounds, turned, with the exact result.

Everything random comes from the seed and the sample's name, so one sample can be made again alone. Run as

    python -m tools.dataset.generate --output data/rotationbench
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from rotationbench.datasets import write_sample
from rotationbench.points import ImagePoints
from rotationbench.rotation import turn_points
from rotationbench.sample import DragSample, SampleMeta
from tools.dataset.assemblies import ASSEMBLIES
from tools.dataset.geometry import painted_mask
from tools.dataset.grounds import GROUNDS, TEXTURED
from tools.dataset.layers import SHADOW_OFFSET, CutOut, Layer, Thing, composed
from tools.dataset.recipes import SampleRecipe, read_recipes

SEED = 20240106
SIDE = 512
SPRITES = Path(__file__).parents[2] / "data" / "sprites"
EDGE = 10
"""Pixels between the moving object and the picture's border, in every pose."""
MARGIN = 20
"""Pixels around the swept region that the mask adds; wide enough for the shadow."""
FLOOR = 440
"""Row on which standing objects stand."""
SHADOW = 0.38
TRIES = 400
HIDDEN = (0.06, 0.30)
"""Smallest and largest share of the moving object that a second object in front hides."""

PLACES = {
    "paper": "on a sheet of paper", "wood": "on a wooden table", "cloth": "on a checked table cloth",
    "sand": "on sand", "sky": "in the sky", "meadow": "in a meadow", "beach": "on a beach", "room": "on a table",
    "wall": "in front of a wall", "gravel": "on gravel", "grass": "on grass", "brick": "on a brick wall",
}  # fmt: skip
LICENCE = "MIT (objects: Microsoft Fluent Emoji); CC0-1.0 (grounds)"


@cache
def sprite(name: str) -> CutOut:
    """The sprite called `name` in `data/sprites`."""
    return CutOut.read(SPRITES / f"{name.replace(' ', '-')}.webp")


def generated_sample(recipe: SampleRecipe) -> DragSample:
    """The sample that a recipe and the seed make.

    Raises:
        ValueError: when no place in the picture was found where the object can turn.
    """
    rng = np.random.default_rng([SEED, zlib.crc32(recipe.name.encode())])
    ground = GROUNDS[recipe.ground](rng, SIDE)
    sign = recipe.sign or int(rng.choice([-1, 1]))
    angle = sign * round(float(rng.uniform(*recipe.angle)), 1)
    base = float(rng.uniform(*recipe.base))
    thing, pivot = _placed(recipe, rng, base, angle)
    moving = [layer for layer in thing.layers if layer.moves]
    mask = painted_mask(_solid(moving), pivot, angle, MARGIN)
    if thing.shadow:
        # Whoever paints a mask paints the shadow too.
        mask |= np.roll(mask, SHADOW_OFFSET[::-1], axis=(0, 1))

    behind: list[Thing] = []
    before: list[Thing] = []
    if recipe.beside:
        behind = [_beside(recipe.beside, rng, mask | _solid(thing.layers), stands=recipe.stands)]
    if recipe.front:
        before = [_in_front(recipe.front, rng, moving, pivot, angle, stands=recipe.stands)]
    image, seen = composed(ground, [*behind, thing, *before])
    target, seen_after = composed(ground, [*behind, thing.turned(pivot, angle), *before])

    handles = _handles(recipe, thing, seen, seen_after, pivot, angle)
    targets = np.round(turn_points(handles, pivot, angle))
    if recipe.given:
        handles, targets = np.vstack([handles, pivot]), np.vstack([targets, pivot])
    hidden = 1 - seen.sum() / composed(ground, [thing])[1].sum() if before else 0.0
    meta = SampleMeta(
        split="generated",
        category=recipe.category,
        licence=LICENCE,
        source=f"composed by tools.dataset.generate with seed {SEED}, recipe {recipe.name!r}",
        pivot=pivot,
        angle=angle,
        difficulty=_difficulty(recipe, angle),
        object_mask=seen,
        object_mask_target=seen_after,
        extra={
            "kind": "part" if recipe.thing in ASSEMBLIES else "whole",
            "pivot_given": recipe.given,
            "ground": recipe.ground,
            "hidden": round(float(hidden), 3),
        },
    )
    prompt = f"{recipe.words} {PLACES[recipe.ground]}"
    name = f"gen-{recipe.name}"
    return DragSample(name, image, prompt, ImagePoints(handles), ImagePoints(targets), mask, target, meta, 160)


def _pieces(recipe: SampleRecipe) -> list[tuple[CutOut, bool]]:
    if recipe.thing in ASSEMBLIES:
        return ASSEMBLIES[recipe.thing](sprite)
    return [(sprite(recipe.thing), True)]


def _placed(
    recipe: SampleRecipe, rng: np.random.Generator, base: float, angle: float
) -> tuple[Thing, tuple[float, float]]:
    """The thing somewhere in the picture where all of it stays inside during the turn, and the pivot there."""
    pieces = _pieces(recipe)
    scale = recipe.size / 256
    outlines = [(_outline(piece), moves) for piece, moves in pieces]

    def extents(poses: Sequence[float]) -> np.ndarray:
        """All outlines relative to the pivot, the moving ones in every pose."""
        return np.concatenate(
            [
                turn_points((outline - recipe.pivot) * scale, (0.0, 0.0), base + pose)
                for outline, moves in outlines
                for pose in (poses if moves else (0.0,))
            ]
        )

    around = extents(np.linspace(0, angle, 13).tolist())
    low = EDGE - around.min(axis=0)
    high = SIDE - 1 - EDGE - around.max(axis=0)
    if recipe.stands:
        low[1] = high[1] = FLOOR + rng.integers(-8, 9) - extents([0.0])[:, 1].max()
    if (low > high).any():
        raise ValueError(f"{recipe.name}: expected room to turn by {angle}°, got none at size {recipe.size}.")
    pivot = (float(round(rng.uniform(low[0], high[0]))), float(round(rng.uniform(low[1], high[1]))))
    layers = tuple(Layer(piece, recipe.pivot, pivot, scale, base, moves) for piece, moves in pieces)
    if recipe.stands:
        still = extents([0.0]) + pivot
        feet = still[still[:, 1] > still[:, 1].max() - 12]
        middle, half = (feet[:, 0].min() + feet[:, 0].max()) / 2, (feet[:, 0].max() - feet[:, 0].min()) / 2 + 14
        return Thing(layers, contact=(float(middle), float(still[:, 1].max()) - 2, float(half), 11.0)), pivot
    return Thing(layers, shadow=0.0 if recipe.ground == "sky" else SHADOW), pivot


def _outline(piece: CutOut) -> np.ndarray:
    """`(N, 2)` points of a sprite that enclose it."""
    contours, _ = cv2.findContours((piece.alpha > 0.3).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.concatenate(contours)[:, 0].astype(np.float64)


def _solid(layers: Sequence[Layer]) -> np.ndarray:
    """Bool `(SIDE, SIDE)`: where any of the layers is."""
    return np.any([layer.drawn((SIDE, SIDE))[..., 3] > 0.5 for layer in layers], axis=0)


def _swept(moving: Sequence[Layer], pivot: tuple[float, float], angle: float) -> tuple[np.ndarray, np.ndarray]:
    """The moving layers before and after the turn."""
    return _solid(moving), _solid([layer.turned(pivot, angle) for layer in moving])


def _beside(name: str, rng: np.random.Generator, taken: np.ndarray, *, stands: bool) -> Thing:
    """A second object that touches nothing of `taken`."""
    for attempt in range(TRIES):
        scale = float(rng.uniform(0.32, 0.5)) * (1 - 0.5 * attempt / TRIES)
        x, y = (round(float(value)) for value in rng.uniform(60, SIDE - 60, 2))
        layer = Layer(
            sprite(name),
            (128, 128),
            (x, FLOOR - 110 * scale if stands else y),
            scale,
            0.0 if stands else float(rng.uniform(-30, 30)),
        )
        corners = layer.to_picture(_outline(layer.sprite))
        inside = (corners > 4).all() and (corners < SIDE - 5).all()
        if (
            inside
            and not taken[tuple(np.round(corners[:, ::-1]).astype(int).T)].any()
            and not (_solid([layer]) & taken).any()
        ):
            return Thing((layer,), shadow=0.0 if stands else SHADOW)
    raise ValueError(f"Expected room for {name} beside the object, got none in {TRIES} tries.")


def _in_front(
    name: str,
    rng: np.random.Generator,
    moving: Sequence[Layer],
    pivot: tuple[float, float],
    angle: float,
    *,
    stands: bool,
) -> Thing:
    """A second object that hides some of the moving one before and after the turn, but not much."""
    poses = _swept(moving, pivot, angle)
    rows, columns = np.nonzero(poses[0])
    for _ in range(TRIES):
        scale = float(rng.uniform(0.38, 0.6))
        pick = int(rng.integers(len(rows)))
        x, y = columns[pick] + round(rng.uniform(-70, 70)), rows[pick] + round(rng.uniform(-70, 70))
        position = (float(x), FLOOR + 14 - 110 * scale if stands else float(y))
        layer = Layer(sprite(name), (128, 128), position, scale, 0.0 if stands else float(rng.uniform(-30, 30)))
        corners = layer.to_picture(_outline(layer.sprite))
        if (corners < 4).any() or (corners > SIDE - 5).any():
            continue
        cover = _solid([layer])
        shares = [float((cover & pose).sum() / pose.sum()) for pose in poses]
        if HIDDEN[0] <= shares[0] <= HIDDEN[1] and shares[1] <= HIDDEN[1] and not _around(cover, pivot):
            return Thing((layer,), shadow=0.0 if stands else SHADOW)
    raise ValueError(f"Expected a place where {name} hides a piece of the object, got none in {TRIES} tries.")


def _around(mask: np.ndarray, point: tuple[float, float], radius: int = 12) -> bool:
    x, y = round(point[0]), round(point[1])
    return bool(mask[max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1].any())


def _handles(
    recipe: SampleRecipe,
    thing: Thing,
    seen: np.ndarray,
    seen_after: np.ndarray,
    pivot: tuple[float, float],
    angle: float,
) -> np.ndarray:
    """The recipe's handles in the picture: moved onto the object where they miss it, left out where it is hidden."""
    moving = next(layer for layer in thing.layers if layer.moves)
    core = cv2.erode(seen.astype(np.uint8), np.ones((5, 5), np.uint8))
    rows, columns = np.nonzero(core)
    handles = []
    for wished in moving.to_picture(np.array(recipe.handles, np.float64)):
        nearest = int(np.argmin((columns - wished[0]) ** 2 + (rows - wished[1]) ** 2))
        handle = np.array([columns[nearest], rows[nearest]], np.float64)
        x, y = np.round(turn_points(handle[None], pivot, angle)[0]).astype(int)
        if seen_after[y, x] and np.hypot(*(handle - wished)) < 30:
            handles.append(handle)
    if not handles:
        raise ValueError(f"{recipe.name}: expected a handle that is seen before and after the turn, got none.")
    return np.array(handles)


def _difficulty(recipe: SampleRecipe, angle: float) -> str:
    points = (abs(angle) > 60) + (not recipe.given) + (recipe.front is not None) + (recipe.ground in TEXTURED)
    return ("easy", "medium", "hard")[min(points, 2)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Write every sample of the generated split."""
    parser = argparse.ArgumentParser(description="Build the generated split of RotationBench.")
    parser.add_argument("--output", type=Path, default=Path("data/rotationbench"), help="folder for the samples")
    parser.add_argument("--only", nargs="*", help="names of recipes; all by default")
    options = parser.parse_args(arguments)
    for recipe in read_recipes():
        if not options.only or recipe.name in options.only:
            sample = generated_sample(recipe)
            write_sample(options.output / sample.name, sample)


if __name__ == "__main__":
    main()
