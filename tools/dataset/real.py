"""Build the real split from photographs in pip and Debian packages and from hand-made annotations.

`photos.json` says which part of which photograph is used, `drags.json` holds the outlines, pivots and handles that were
drawn by hand on those parts. Run as

    python -m tools.dataset.real --packages FOLDER [FOLDER ...] --output data/rotationbench

where the folders hold the unpacked packages (a `site-packages` folder, what `dpkg -x` leaves).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rotationbench.datasets import write_sample
from rotationbench.pictures import open_picture
from rotationbench.points import ImagePoints
from rotationbench.rotation import turn_points
from rotationbench.sample import DragSample, SampleMeta
from tools.dataset.geometry import filled, painted_mask

FOLDER = Path(__file__).parent
LARGEST_PHOTOGRAPH = 20_000
"""Pixels per side; wallpapers are larger than what the benchmark edits."""


def photograph(about: dict[str, Any], packages: Sequence[Path]) -> np.ndarray:
    """The part of a photograph that `photos.json` names: uint8 `(H, W, 3)`.

    Raises:
        FileNotFoundError: when none of the folders `packages` holds the file.
    """
    candidates = (
        path
        for package in packages
        for path in sorted(package.rglob(Path(about["file"]).name))
        if path.as_posix().endswith("/" + about["file"])
    )
    path = next(candidates, None)
    if path is None:
        raise FileNotFoundError(f"Expected {about['file']} of the package {about['package']} in one of {packages}.")
    image = open_picture(path, largest=LARGEST_PHOTOGRAPH, upright=False).convert("RGB")
    return np.array(image.resize(about["size"], Image.Resampling.LANCZOS, box=about["crop"]))


def real_sample(drag: dict[str, Any], about: dict[str, Any], image: np.ndarray) -> DragSample:
    """The sample of one annotation on the part `image` of the photograph `about`."""
    pivot, angle = tuple(drag["pivot"]), drag["angle"]
    outline = np.array(drag["outline"], np.float64)
    thing = filled(outline, image.shape[:2])
    # Only the pixels inside the picture can be painted, wherever the thing goes.
    mask = painted_mask(thing, pivot, angle, drag["margin"])
    handles = np.array(drag["handles"], np.float64)
    targets = np.round(turn_points(handles, pivot, angle))
    if drag["pivot_given"]:
        handles = np.vstack([handles, pivot])
        targets = np.vstack([targets, pivot])
    meta = SampleMeta(
        split="real",
        category=drag["category"],
        licence=about["licence"],
        source=f"{about['file']} from the package {about['package']}, photograph by {about['author']}, "
        f"part {about['crop']} (left, top, right, bottom) resized to {about['size'][0]} × {about['size'][1]}",
        pivot=(float(pivot[0]), float(pivot[1])),
        angle=float(angle),
        difficulty=drag["difficulty"],
        object_mask=thing,
        extra={"photo": drag["photo"], "kind": drag["kind"], "pivot_given": drag["pivot_given"]},
    )
    return DragSample(
        drag["name"], image, drag["prompt"], ImagePoints(handles), ImagePoints(targets), mask, None, meta, 160
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Write every sample of the real split."""
    parser = argparse.ArgumentParser(description="Build the real split of RotationBench.")
    parser.add_argument("--packages", type=Path, nargs="+", required=True, help="folders with unpacked packages")
    parser.add_argument("--output", type=Path, default=Path("data/rotationbench"), help="folder for the samples")
    parser.add_argument("--only", nargs="*", help="names of samples to write; all by default")
    options = parser.parse_args(arguments)
    photos = json.loads((FOLDER / "photos.json").read_text(encoding="utf-8"))
    drags = json.loads((FOLDER / "drags.json").read_text(encoding="utf-8"))
    images: dict[str, np.ndarray] = {}
    for drag in drags:
        if options.only and drag["name"] not in options.only:
            continue
        about = photos[drag["photo"]]
        if drag["photo"] not in images:
            images[drag["photo"]] = photograph(about, options.packages)
        write_sample(options.output / drag["name"], real_sample(drag, about, images[drag["photo"]]))


if __name__ == "__main__":
    main()
