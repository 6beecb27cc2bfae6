"""The pairs of the experiment: a reference crop and its warps, made when they are needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from evaluation.table1.pictures import LARGEST_SIDE, Picture
from evaluation.table1.warps import KINDS, SMALLEST_CROP, Crop, Warp, WarpRanges, centre_crop, draw_warp, warp_crop
from rotationbench.errors import ConfigError, DatasetError
from rotationbench.files import write_image, write_json
from rotationbench.settings import check_between

MOST_WARPS = 1000


@dataclass(frozen=True)
class Protocol:
    """How pairs are made.

    Args:
        warps_per_image: warps of each type per picture.
        crop: `(height, width)` of the crop in pixels, where the picture is large enough.
        ranges: what warps are drawn from.
        seed: decides the warps.

    Raises:
        ConfigError: when a number is out of its range.
    """

    warps_per_image: int = 5
    crop: tuple[int, int] = (480, 640)
    ranges: WarpRanges = field(default_factory=WarpRanges)
    seed: int = 0

    def __post_init__(self) -> None:
        check_between(self, 1, MOST_WARPS, "warps_per_image", section="")
        if len(self.crop) != 2 or not all(SMALLEST_CROP <= side <= LARGEST_SIDE for side in self.crop):
            raise ConfigError(
                f"crop: expected [height, width] of {SMALLEST_CROP} to {LARGEST_SIDE} px, got {list(self.crop)}."
            )


@dataclass(frozen=True, eq=False)
class Pair:
    """A warp and the warped crop, uint8 `(crop.height, crop.width, 3)`."""

    warp: Warp
    repetition: int
    image: np.ndarray


def check_pictures(pictures: list[Picture], protocol: Protocol) -> None:
    """Make sure that every picture can be decoded and holds a crop, one in memory at a time.

    Raises:
        DatasetError: naming every picture that cannot be used.
    """
    problems: list[str] = []
    for picture in pictures:
        try:
            height, width = picture.read().shape[:2]
        except DatasetError as error:
            problems += error.problems
            continue
        if centre_crop((height, width), protocol.crop, protocol.ranges) is None:
            problems.append(
                f"{picture.path}: expected a picture whose crop can be warped within the given ranges and still has a "
                f"short side of {SMALLEST_CROP} px, got {width} × {height} px."
            )
    if problems:
        raise DatasetError(problems)


def reference_crop(image: np.ndarray, protocol: Protocol) -> Crop:
    """The crop of a picture uint8 `(H, W, 3)` that `check_pictures` has accepted."""
    crop = centre_crop(image.shape[:2], protocol.crop, protocol.ranges)
    if crop is None:
        raise ValueError(f"The picture of {image.shape[1]} × {image.shape[0]} px is too small.")
    return crop


def make_pair(image: np.ndarray, crop: Crop, protocol: Protocol, *, picture: str, kind: str, repetition: int) -> Pair:
    """One pair of a picture uint8 `(H, W, 3)`; see `draw_warp` for the arguments."""
    warp = draw_warp(kind, crop, protocol.ranges, seed=protocol.seed, picture=picture, repetition=repetition)
    return Pair(warp, repetition, warp_crop(image, crop, warp.homography))


def make_pairs(image: np.ndarray, crop: Crop, protocol: Protocol, *, picture: str) -> Iterator[Pair]:
    """All pairs of a picture, one in memory at a time."""
    for kind in KINDS:
        for repetition in range(protocol.warps_per_image):
            yield make_pair(image, crop, protocol, picture=picture, kind=kind, repetition=repetition)


def write_pairs(folder: Path, picture: Picture, protocol: Protocol) -> None:
    """Write a picture's reference crop, warped crops and homographies to its own folder in `folder`, to look at."""
    image = picture.read()
    crop = reference_crop(image, protocol)
    target = folder / picture.file_name
    write_image(target / "reference.png", crop.cut(image))
    warps = {}
    for pair in make_pairs(image, crop, protocol, picture=picture.name):
        name = f"{pair.warp.kind}-{pair.repetition}"
        write_image(target / f"{name}.png", pair.image)
        warps[name] = {
            "homography": pair.warp.homography.tolist(),
            "amount": pair.warp.amount,
            "direction": pair.warp.direction,
        }
    write_json(target / "warps.json", {"crop": [crop.left, crop.top, crop.width, crop.height], "warps": warps})
