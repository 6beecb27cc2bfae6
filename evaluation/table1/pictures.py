"""Where the reference pictures come from: the illumination sequences of HPatches, or any folder of pictures."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from rotationbench.errors import DatasetError

ENDINGS = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
HPATCHES_SEQUENCES = 57
"""Illumination sequences (`i_*`) in the released HPatches archive."""


@dataclass(frozen=True)
class Picture:
    """A reference picture that is read when it is needed.

    Args:
        name: unique among its source and usable as a file name.
        path: the file.
    """

    name: str
    path: Path

    def read(self) -> np.ndarray:
        """The picture, uint8 `(H, W, 3)`, RGB.

        Raises:
            DatasetError: when the file is no readable picture.
        """
        try:
            with Image.open(self.path) as image:
                return np.asarray(image.convert("RGB"))
        except (OSError, UnidentifiedImageError) as error:
            raise DatasetError([f"{self.path}: expected a readable picture, got: {error}"]) from error

    def digest(self) -> str:
        """SHA-256 of the file's bytes."""
        with self.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()


def open_pictures(root: Path) -> list[Picture]:
    """The reference pictures under a folder, in order of their names.

    A folder that holds HPatches sequences (`i_*/1.ppm`), or the released folder one level up, gives the first picture
    of each illumination sequence. Any other folder gives every picture in it and below.

    Raises:
        DatasetError: when the folder does not exist or holds no picture.
    """
    if not root.is_dir():
        raise DatasetError([f"{root}: expected a folder of pictures, got {'a file' if root.exists() else 'nothing'}."])
    sequences = hpatches_sequences(root)
    if sequences:
        return [Picture(folder.name, folder / "1.ppm") for folder in sequences]
    paths = sorted(
        path
        for path in root.rglob("*")
        if path.suffix.lower() in ENDINGS
        and path.is_file()
        and not any(part[0] == "." for part in path.relative_to(root).parts)
    )
    if not paths:
        raise DatasetError([f"{root}: expected pictures ({', '.join(sorted(ENDINGS))}), got none."])
    return [Picture("-".join(path.relative_to(root).parts), path) for path in paths]


def hpatches_sequences(root: Path) -> list[Path]:
    """Folders of the illumination sequences under `root` or its subfolder `hpatches-sequences-release`; may be none.

    Raises:
        DatasetError: when a sequence lacks its reference picture `1.ppm`.
    """
    for folder in (root, root / "hpatches-sequences-release"):
        sequences = sorted(path for path in folder.glob("i_*") if path.is_dir())
        missing = [path / "1.ppm" for path in sequences if not (path / "1.ppm").is_file()]
        if missing and len(missing) < len(sequences):
            raise DatasetError(
                [f"{path}: expected the reference picture of the sequence, got nothing." for path in missing]
            )
        if sequences and not missing:
            return sequences
    return []
