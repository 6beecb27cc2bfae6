"""The rendered objects: fetching the npm package, naming its pictures, and the lists of objects.

The pictures are Microsoft's Fluent Emoji (MIT licence) as the npm package `@lobehub/fluent-emoji-3d` packs them: one
256² WebP with transparency per emoji, named by its Unicode codepoints.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tarfile
import tempfile
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rotationbench.errors import DatasetError, MissingWeightsError
from rotationbench.pictures import open_picture

PACKAGE = "@lobehub/fluent-emoji-3d"
VERSION = "1.1.0"
ARCHIVE_SHA256 = "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58"
LISTS = Path(__file__).parent
HELD_OUT = LISTS / "held_out.txt"
PLAIN = LISTS / "plain_objects.txt"
FEW = LISTS / "few_objects.txt"

# Emoji that are no object one could photograph: signs, frames around letters, faces, groups of people, scenes.
_NO_OBJECT = re.compile(
    r"\b(squared|circled|sign|symbol|button|arrows?|keycap|ideograph|katakana|input|ornament|square|circle|diamond|"
    r"triangle|mark|suit|selector|part alternation|dash|loop|cross|face|person|people|man|men|woman|women|boy|girl|"
    r"family|couple|busts?|adult|child|silhouette|hearts|cityscape|sunrise|sunset|foggy|night|milky way|desert|"
    r"national park|buildings|beach|camping|moon viewing|restroom|cinema|antenna with bars|mobile phone off|"
    r"vibration mode|anger|infinity|asterisk|level slider|control knobs|chart|speech|bubble|plus|minus|multiplication|"
    r"division|aries|taurus|gemini|cancer|leo|virgo|libra|scorpius|sagittarius|capricorn|aquarius|pisces|ophiuchus|"
    r"eyes|dancing|dancer|kiss|family|genie|fairy|elf|mage|zombie|vampire|merperson|troll|superhero|supervillain)\b"
)


@dataclass(frozen=True)
class Thing:
    """An object: its Unicode codepoint in hexadecimal, its category and its name in captions."""

    codepoint: str
    category: str
    name: str


@dataclass(frozen=True, eq=False)
class Sprite:
    """An object's picture: float32 `(side, side, 4)` in [0, 1], RGB multiplied by alpha, cropped to the object."""

    thing: Thing
    rgba: np.ndarray


def read_things(path: Path) -> list[Thing]:
    """The objects of a list: one `codepoint <tab> category <tab> name` per line; `#` begins a comment line.

    Raises:
        DatasetError: lines that do not have these three columns.
    """
    things: list[Thing] = []
    problems: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        columns = line.split("\t")
        if len(columns) == 3 and re.fullmatch(r"[0-9a-f]{4,6}", columns[0]):
            things.append(Thing(*columns))
        else:
            problems.append(f"{path}: line {number}: expected codepoint, category and name by tabs, got {line!r}")
    if problems:
        raise DatasetError(problems)
    return things


def fetch(cache: Path) -> Path:
    """The package's folder of pictures below `cache`, fetched by `npm pack` and checked when it is not there yet.

    Raises:
        MissingWeightsError: npm is missing or fails.
        DatasetError: the archive is not the one that this recipe was written for.
    """
    assets = cache / f"fluent-emoji-3d-{VERSION}"
    if assets.is_dir():
        return assets
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        command = ["npm", "pack", f"{PACKAGE}@{VERSION}", "--pack-destination", folder]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            detail = getattr(error, "stderr", "") or str(error)
            raise MissingWeightsError(
                f"`{' '.join(command)}` failed; npm and a network are needed: {detail}"
            ) from error
        (archive,) = Path(folder).glob("*.tgz")
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found != ARCHIVE_SHA256:
            raise DatasetError([f"{archive.name}: expected SHA-256 {ARCHIVE_SHA256}, got {found}"])
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        shutil.move(Path(folder) / "package" / "assets", assets)
    return assets


def single_codepoints(assets: Path) -> dict[str, Path]:
    """The pictures that stand for one codepoint alone, by codepoint; no skin tones, flags and joined emoji."""
    pictures: dict[str, Path] = {}
    for path in sorted(assets.glob("*.webp")):
        points = [point for point in path.stem.split("-") if point != "fe0f"]
        if len(points) == 1 and len(points[0]) >= 4:
            pictures[points[0]] = path
    return pictures


def all_things(assets: Path) -> list[Thing]:
    """Every single object of the package under its Unicode name; signs, faces, people and scenes are left out."""
    listed = {thing.codepoint: thing for thing in read_things(PLAIN) + read_things(HELD_OUT)}
    things = []
    for codepoint in single_codepoints(assets):
        name = unicodedata.name(chr(int(codepoint, 16)), "").lower()
        if codepoint in listed:
            things.append(listed[codepoint])
        elif name and not _NO_OBJECT.search(name):
            things.append(Thing(codepoint, "thing", name.removeprefix("black ").removeprefix("white ")))
    return things


def training_things(assets: Path, objects: str) -> list[Thing]:
    """The objects of the set `objects` (`few`, `plain` or `all`) without the ones that are held out."""
    held_out = {thing.codepoint for thing in read_things(HELD_OUT)}
    things = all_things(assets) if objects == "all" else read_things({"few": FEW, "plain": PLAIN}[objects])
    return [thing for thing in things if thing.codepoint not in held_out]


def load_sprites(assets: Path, things: Iterable[Thing]) -> list[Sprite]:
    """The pictures of `things`, each cropped to the square around its object.

    Raises:
        DatasetError: all objects whose picture is missing or wholly transparent.
    """
    pictures = single_codepoints(assets)
    sprites: list[Sprite] = []
    problems: list[str] = []
    for thing in things:
        path = pictures.get(thing.codepoint)
        if path is None:
            problems.append(f"{assets / thing.codepoint}.webp: expected a picture of {thing.name!r}, found no file")
            continue
        try:
            sprites.append(read_sprite(thing, path))
        except DatasetError as error:
            problems.extend(error.problems)
    if problems:
        raise DatasetError(problems)
    return sprites


def read_sprite(thing: Thing, path: Path) -> Sprite:
    """The picture of `thing` in a file with transparency, cropped to the square around its object.

    Raises:
        DatasetError: a picture that is wholly transparent.
        PictureError: a file that is no picture.
    """
    rgba = np.asarray(open_picture(path).convert("RGBA"), dtype=np.float32) / 255
    rows, columns = np.nonzero(rgba[..., 3] > 0.05)
    if not len(rows):
        raise DatasetError([f"{path}: expected an object, got a wholly transparent picture"])
    return Sprite(thing, _crop_square(rgba, rows, columns))


def _crop_square(rgba: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The smallest centred square around the object, transparent where it leaves the picture, alpha multiplied in."""
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    side = int(max(bottom - top, right - left))
    square = np.zeros((side, side, 4), np.float32)
    y, x = (side - (bottom - top)) // 2, (side - (right - left)) // 2
    square[y : y + bottom - top, x : x + right - left] = rgba[top:bottom, left:right]
    square[..., :3] *= square[..., 3:]
    return square
