"""Walking a data set's folders, and finding the files of a sample whatever their endings and capitals."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np

from rotationbench.datasets.reading import Problems, read_picture
from rotationbench.names import folded

DEPTH = 4
PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
FOREIGN_ENDINGS = (".gif", ".ico", ".eps", ".ppm", ".pgm", ".avif", ".heic", ".npy", ".npz")
"""Endings of pictures that are not read; a file with one is refused, not passed over."""


@dataclass(frozen=True)
class Folder:
    """A folder of a data set, listed once.

    Args:
        path: the folder.
        parents: names of the folders between the data set's root and this one, outermost first.
        names: what lies in it, by name without regard to capitals.
    """

    path: Path
    parents: tuple[str, ...]
    names: dict[str, str]

    def holds(self, name: str) -> bool:
        """Whether there is anything called `name`, whatever it is."""
        return folded(name) in self.names

    def holds_picture(self, stem: str) -> bool:
        """Whether there is a picture called `stem`."""
        return any(self.holds(stem + ending) for ending in PICTURE_ENDINGS)


def folders_below(root: Path, problems: Problems) -> list[Folder]:
    """`root` and the folders below it, at most four levels down, by path; hidden ones are passed over.

    Each folder is listed once, however many links lead to it: a link back to where it lies would make further samples
    of one. Links are followed after everything else, so that a folder keeps its own name. Folders that cannot be listed
    are noted.
    """
    found: list[Folder] = []
    seen: set[tuple[int, int]] = set()
    waiting: deque[tuple[Path, tuple[str, ...]]] = deque([(root, ())])
    links: deque[tuple[Path, tuple[str, ...]]] = deque()
    while waiting or links:
        path, parents = waiting.popleft() if waiting else links.popleft()
        try:
            status = path.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(path) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
            below = [entry for entry in entries if not entry.name.startswith(".") and _is_folder(entry)]
        except OSError as error:
            problems.expected(path, "a folder that can be listed", f"{type(error).__name__}: {error.strerror}")
            continue
        found.append(Folder(path, parents, {folded(entry.name): entry.name for entry in reversed(entries)}))
        if len(parents) < DEPTH:
            for entry in below:
                (links if entry.is_symlink() else waiting).append((path / entry.name, (*parents, entry.name)))
    return sorted(found, key=lambda folder: folder.parents)


def file_called(folder: Path, name: str, problems: Problems) -> Path | None:
    """The one file in `folder` called `name`, whatever its capitals; None when there is none.

    What lies there may be anything, a folder or a link to nowhere; reading it says so. More than one is a problem.
    """
    return _only(folder, [other for other in _names(folder) if folded(other) == folded(name)], name, problems)


def picture_called(folder: Path, stem: str, problems: Problems) -> Path | None:
    """The one picture in `folder` called `stem`, whatever its ending and capitals; None when there is none.

    More than one is a problem: nothing says which of them is meant.
    """
    candidates = [
        name
        for name in _names(folder)
        if folded(PurePath(name).stem) == folded(stem)
        and PurePath(name).suffix.lower() in PICTURE_ENDINGS + FOREIGN_ENDINGS
    ]
    return _only(folder, candidates, stem, problems)


def the_file(folder: Path, name: str, problems: Problems) -> Path:
    """As `file_called`, for a file that has to be there."""
    return file_called(folder, name, problems) or folder / name


def read_main_picture(folder: Path, stem: str, problems: Problems) -> np.ndarray | None:
    """The picture that a sample is about, uint8 `(H, W, 3)`, or None after noting why there is none."""
    before = len(problems)
    path = picture_called(folder, stem, problems)
    return None if len(problems) > before else read_picture(path or folder / f"{stem}.png", problems)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link that leads to itself.
        return False


def _names(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(folder))
    except OSError:
        return []


def _only(folder: Path, names: list[str], wanted: str, problems: Problems) -> Path | None:
    if len(names) > 1:
        problems.expected(folder / names[0], f'one file as "{wanted}"', " and ".join(names))
        return None
    return folder / names[0] if names else None
