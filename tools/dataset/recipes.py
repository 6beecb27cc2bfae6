"""What the generated samples show: objects, the parts of them that turn, where, and how far.

The samples are listed in `recipes.json`. Coordinates are pixels of the 256² sprites, written as (x, y).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rotationbench.errors import DatasetError

LIST = Path(__file__).parent / "recipes.json"

Point = tuple[float, float]


@dataclass(frozen=True)
class SampleRecipe:
    """One generated sample, up to what the random generator decides.

    Args:
        name: name of the sample.
        thing: name of a sprite in `data/sprites`, or of an assembly in `tools.dataset.assemblies`.
        words: what a caption calls it.
        category: for tables by category.
        ground: a key of `tools.dataset.grounds.GROUNDS`.
        pivot: centre of the turn.
        handles: places to drag, in order of importance.
        angle: smallest and largest turn in degrees; the generator chooses the direction.
        sign: 1 or -1 where only one direction makes sense, or 0.
        size: length in the picture of the sprite's 256 pixels.
        base: smallest and largest angle at which the object is shown before the edit.
        given: whether the sample has a pivot pair; otherwise a method has to derive the axis.
        stands: whether the object stands on the ground, with its lowest point at a fixed height.
        beside: sprite of a second object that is nowhere near.
        front: sprite of a second object that hides a piece of the first.
    """

    name: str
    thing: str
    words: str
    category: str
    ground: str
    pivot: Point
    handles: tuple[Point, ...]
    angle: tuple[float, float]
    sign: int = 0
    size: int = 270
    base: tuple[float, float] = (0.0, 0.0)
    given: bool = True
    stands: bool = False
    beside: str | None = None
    front: str | None = None


def read_recipes(path: Path = LIST) -> list[SampleRecipe]:
    """The recipes of a JSON list, in its order.

    Raises:
        DatasetError: every entry that lacks a field or has an unknown one.
    """
    recipes, problems = [], []
    for number, entry in enumerate(json.loads(path.read_text(encoding="utf-8")), start=1):
        try:
            recipes.append(SampleRecipe(**{key: _as_tuples(value) for key, value in entry.items()}))
        except TypeError as error:
            problems.append(f"{path}: entry {number}: expected the fields of a recipe: {error}")
    if problems:
        raise DatasetError(problems)
    return recipes


def _as_tuples(value: Any) -> Any:
    return tuple(_as_tuples(item) for item in value) if isinstance(value, list) else value
