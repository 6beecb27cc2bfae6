"""Where the reference pictures come from: the illumination sequences of HPatches, or any folder of pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from rotationbench.errors import ConfigError, DatasetError
from rotationbench.files import sha256_of_file
from rotationbench.names import name_clashes, name_fault, printable
from rotationbench.pictures import PictureError, read_rgb

FORMATS = ("auto", "hpatches", "pictures")
ENDINGS = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
LARGEST_SIDE = 8192
"""Pixels that each side of a picture has at most; a larger one is refused undecoded."""
HPATCHES_SEQUENCES = 57
"""Illumination sequences (`i_*`) in the released HPatches archive."""
HPATCHES_DEPTH = 2
"""Levels below the given folder at which sequences are looked for: some unpacked copies hold their folder twice."""
SEQUENCE = re.compile("[iv]_.+")
SEQUENCE_FILE = re.compile(r"[1-6]\.ppm|H_1_[2-6]")


@dataclass(frozen=True)
class Picture:
    """A reference picture that is read when it is needed.

    Args:
        name: unique among its source: the sequence, or the path below the source's folder, with slashes.
        path: the file.
        hpatches: whether it is the reference of an illumination sequence of HPatches.
    """

    name: str
    path: Path
    hpatches: bool = False

    def read(self) -> np.ndarray:
        """The picture as it is stored, uint8 `(H, W, 3)`, RGB.

        Raises:
            DatasetError: when the file is no whole picture, or one with sides beyond `LARGEST_SIDE`.
        """
        try:
            return read_rgb(self.path, largest=LARGEST_SIDE, upright=False)
        except PictureError as error:
            raise DatasetError([str(error)]) from error

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file's bytes."""
        return sha256_of_file(self.path)

    @property
    def file_name(self) -> str:
        """The name as one path component, another one for every name."""
        return "".join(f"%{ord(char):02X}" if char in "%/\\" else char for char in self.name)


def described(pictures: Sequence[Picture]) -> str:
    """What the pictures are, and how many of how many, for the reader of the table."""
    count = len(pictures)
    if not all(picture.hpatches for picture in pictures):
        return f"{count} {'picture' if count == 1 else 'pictures'}"
    if count > HPATCHES_SEQUENCES:
        return f"{count} illumination sequences, where the release of HPatches has {HPATCHES_SEQUENCES}"
    return f"{count} of {HPATCHES_SEQUENCES} illumination sequences of HPatches"


def open_pictures(root: Path, format: str = "auto") -> list[Picture]:
    """The reference pictures under a folder, in order of their names.

    Args:
        root: the folder.
        format: `"hpatches"` takes the first picture of each illumination sequence, in `root` or up to two levels
            below; `"pictures"` takes every picture in `root` and below, hidden files apart; `"auto"` takes the former
            where anything looks like a sequence of HPatches, else the latter.

    Raises:
        ConfigError: when the format is unknown.
        DatasetError: when the folder does not exist, holds no picture, or holds HPatches without illumination
            sequences or without their reference pictures.
    """
    if format not in FORMATS:
        raise ConfigError(f"data.format: expected one of {', '.join(FORMATS)}, got {format!r}.")
    if not root.is_dir():
        raise DatasetError([f"{root}: expected a folder of pictures, got {'a file' if root.exists() else 'nothing'}."])
    if format != "pictures":
        sequences = hpatches_sequences(root)
        if sequences:
            return [Picture(folder.name, folder / "1.ppm", hpatches=True) for folder in sequences]
        if format == "hpatches":
            raise DatasetError(
                [f"{root}: expected HPatches sequences (`i_*/1.ppm`) in it or up to two levels below, got none."]
            )
    paths = sorted(
        path
        for path in root.rglob("*")
        if path.suffix.lower() in ENDINGS
        and not path.is_dir()
        and not any(part[0] == "." for part in path.relative_to(root).parts)
    )
    if not paths:
        raise DatasetError([f"{root}: expected pictures ({', '.join(sorted(ENDINGS))}), got none."])
    if format == "auto":
        deep = [path for path in paths if SEQUENCE.fullmatch(path.parent.name) and SEQUENCE_FILE.fullmatch(path.name)]
        if deep:
            raise DatasetError(
                [f"{root}: expected HPatches sequences at most two levels below, got {deep[0].relative_to(root)}."]
            )
    pictures = [Picture(path.relative_to(root).as_posix(), path) for path in paths]
    problems = [
        printable(f"{picture.path}: {fault}.")
        for picture in pictures
        if (fault := name_fault(picture.file_name)) is not None
    ]
    for first, second in name_clashes([picture.file_name for picture in pictures]):
        problems.append(
            f"{root}: expected pictures whose names differ in more than capitals, got {first} and {second}."
        )
    if problems:
        raise DatasetError(problems)
    return pictures


def hpatches_sequences(root: Path) -> list[Path]:
    """Folders of HPatches' illumination sequences, in `root` or up to two levels below; empty without any sequence.

    Raises:
        DatasetError: when there are viewpoint sequences alone, when a sequence lacks its reference picture `1.ppm`, or
            when sequences lie in several folders of one level.
    """
    folder = _folder_of_sequences(root)
    if folder is None:
        return []
    sequences = [path for path in _folders_in(folder) if path.name.startswith("i_")]
    if not sequences:
        raise DatasetError(
            [f"{folder}: expected illumination sequences (`i_*`) of HPatches, got viewpoint sequences (`v_*`) alone."]
        )
    missing = [path / "1.ppm" for path in sequences if not (path / "1.ppm").is_file()]
    if len(missing) == len(sequences):
        raise DatasetError(
            [f"{folder}: expected `1.ppm` in illumination sequences, got none in any of {len(sequences)} (`i_*`)."]
        )
    if missing:
        raise DatasetError(
            [f"{path}: expected the reference picture of the sequence, got no file." for path in missing]
        )
    return sequences


def _folder_of_sequences(root: Path) -> Path | None:
    level = [root]
    for _ in range(HPATCHES_DEPTH + 1):
        holders = [folder for folder in level if any(map(_is_sequence, _folders_in(folder)))]
        if len(holders) > 1:
            listing = ", ".join(str(folder.relative_to(root)) for folder in holders)
            raise DatasetError([f"{root}: expected one folder of HPatches sequences, got {len(holders)}: {listing}."])
        if holders:
            return holders[0]
        level = [below for folder in level for below in _folders_in(folder)]
    return None


def _is_sequence(folder: Path) -> bool:
    return bool(SEQUENCE.fullmatch(folder.name)) and any(SEQUENCE_FILE.fullmatch(name) for name in _names_in(folder))


def _folders_in(folder: Path) -> list[Path]:
    return [folder / name for name in _names_in(folder) if name[0] != "." and (folder / name).is_dir()]


def _names_in(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise DatasetError([f"{folder}: expected a folder that can be listed, got: {error.strerror}."]) from error
