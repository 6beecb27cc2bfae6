"""Build the split `in_domain`: turns of objects that the embedded model was trained on, in the world that it can draw.

The demonstration edits these samples. They are no part of the benchmark. Run as

    python -m tools.dataset.in_domain --output data/rotationbench
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from rotationbench.datasets import write_sample
from rotationbench.datasets.formats.rotationbench import IN_DOMAIN
from rotationbench.sample import DragSample
from tools.minisd.recipe import load_recipe
from tools.minisd.rotations import rotation_sample
from tools.minisd.sprites import FEW, Thing, read_sprite, read_things

SEED = 4_000_000
SIDE = 256
SPRITES = Path(__file__).parents[2] / "data" / "sprites" / "in_domain"
OBJECTS = ("pencil", "fish", "butterfly", "rose", "tree", "hand pointing up")


def in_domain_sample(thing: Thing, number: int) -> DragSample:
    """The sample of that number, with an object of the training's, at twice the model's size."""
    name = thing.name.replace(" ", "-")
    sprite = read_sprite(thing, SPRITES / f"{name}.webp")
    world = replace(load_recipe("cpu").composition, side=SIDE)
    return rotation_sample(np.random.default_rng((SEED, number)), sprite, world, f"in-{name}", IN_DOMAIN)


def in_domain_samples() -> list[DragSample]:
    """Every sample of the split."""
    things = {thing.name: thing for thing in read_things(FEW)}
    return [in_domain_sample(things[name], number) for number, name in enumerate(OBJECTS)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Write every sample of the split."""
    parser = argparse.ArgumentParser(description="Build the samples that show what the embedded model was trained on.")
    parser.add_argument("--output", type=Path, default=Path("data/rotationbench"), help="folder for the samples")
    options = parser.parse_args(arguments)
    for sample in in_domain_samples():
        write_sample(options.output / sample.name, sample)


if __name__ == "__main__":
    main()
