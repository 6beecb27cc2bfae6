"""What a format has to offer: finding samples among folders, and reading one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from rotationbench.datasets.folders import Folder, picture_called
from rotationbench.datasets.masks import HALF, read_mask
from rotationbench.datasets.reading import Problems, check_size, read_picture
from rotationbench.sample import DragSample

Size = tuple[int, int]


@dataclass(frozen=True)
class Entry:
    """Where a sample lies, before any picture is decoded.

    Args:
        name: a name that is usable as a folder name; the data set makes it unique.
        path: the sample's folder or, for formats that list samples in one file, that file.
        parents: names of the folders between the data set's root and the sample, outermost first.
        fields: what a listing file says about the sample.
    """

    name: str
    path: Path
    parents: tuple[str, ...] = ()
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def category(self) -> str | None:
        """The folder that the sample lies in, when it isn't the root itself."""
        return self.parents[-1] if self.parents else None


class Format(ABC):
    """A way of keeping drags on disk, with a folder per sample unless `find` says otherwise.

    `name` is what `data.format` calls it, `signature` what a folder of it is recognised by, for messages, and `picture`
    what the picture is called that a sample is about, without its ending.
    """

    name: ClassVar[str]
    signature: ClassVar[str]
    picture: ClassVar[str | None] = None
    includes: ClassVar[tuple[str, ...]] = ()
    """Formats whose samples are samples of this one that lack a file, when both are found together."""

    @abstractmethod
    def marks(self, folder: Folder) -> bool:
        """Whether a folder is a sample of this format and, for all that its files' names tell, of no other."""

    def accepts(self, folder: Folder) -> bool:
        """Whether a folder is a sample, when it is known that the format is this one."""
        return self.marks(folder)

    def find(self, folders: Sequence[Folder], problems: Problems) -> list[Entry]:
        """The samples among `folders`, by path. Notes listings that cannot be read."""
        return [
            Entry(
                folder.path.resolve().name if not folder.parents else folder.path.name, folder.path, folder.parents[:-1]
            )
            for folder in self.samples(folders)
        ]

    def samples(self, folders: Sequence[Folder]) -> list[Folder]:
        """The folders that are samples; a folder inside a sample is none.

        A folder that has a sample's picture and nothing else that it needs is a sample too, a broken one, unless it
        lies around or inside another.
        """
        chosen = outermost([folder for folder in folders if self.accepts(folder)])
        picture = self.picture
        if picture is not None:
            around = {folder.parents[:depth] for folder in chosen for depth in range(len(folder.parents) + 1)}
            chosen += [folder for folder in folders if folder.parents not in around and folder.holds_picture(picture)]
        return outermost(sorted(chosen, key=lambda folder: folder.parents))

    def split_of(self, entry: Entry, problems: Problems) -> str | None:
        """The split that a sample belongs to, read without decoding a picture; None when the format has none."""
        return None

    @abstractmethod
    def read(self, entry: Entry, problems: Problems) -> DragSample | None:
        """The sample, or None after noting everything that is wrong with it."""


def outermost(folders: Sequence[Folder]) -> list[Folder]:
    """`folders` without those that lie inside another of them."""
    parents = {folder.parents for folder in folders}
    return [
        folder
        for folder in folders
        if not any(folder.parents[:depth] in parents for depth in range(len(folder.parents)))
    ]


def optional_mask(
    folder: Path, stem: str, size: Size | None, problems: Problems, *, above: int = HALF
) -> np.ndarray | None:
    """The mask called `stem` in `folder`, bool `(H, W)`; None when there is none, or none is drawn.

    Args:
        folder: the sample's folder.
        stem: the mask's name without its ending.
        size: `(height, width)` that it must have; None when the picture could not be read.
        problems: where problems are noted.
        above: as in `read_mask`.
    """
    path = picture_called(folder, stem, problems)
    if path is None:
        return None
    return read_mask(path, problems, size, above=above)


def optional_picture(folder: Path, stem: str, size: Size | None, problems: Problems) -> np.ndarray | None:
    """The picture called `stem` in `folder`, uint8 `(H, W, 3)`; None when there is none. See `optional_mask`."""
    path = picture_called(folder, stem, problems)
    if path is None:
        return None
    picture = read_picture(path, problems)
    check_size(path, picture, size, problems)
    return picture
