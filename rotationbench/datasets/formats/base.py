"""What a format has to offer: finding samples below a folder, and reading one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from rotationbench.datasets.reading import Problems
from rotationbench.sample import DragSample

DEPTH = 4


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


class Format(Protocol):
    """A way of keeping drags on disk."""

    @property
    def name(self) -> str:
        """The name in `data.format`."""
        ...

    @property
    def signature(self) -> str:
        """What a folder of this format is recognised by, for messages."""
        ...

    def find(self, root: Path, problems: Problems) -> list[Entry]:
        """The samples below `root`, by name; `root` may be a sample itself. Notes listings that cannot be read."""
        ...

    def split_of(self, entry: Entry, problems: Problems) -> str | None:
        """The split that a sample belongs to, read without decoding a picture; None when the format has none."""
        ...

    def read(self, entry: Entry, problems: Problems) -> DragSample | None:
        """The sample, or None after noting everything that is wrong with it."""
        ...


def folders_with(root: Path, names: Sequence[str]) -> list[Entry]:
    """Every folder at or below `root` (at most four levels) that holds one of the files `names`, by path.

    Hidden folders are passed over. A folder that is a sample is not searched for further ones.
    """
    entries: list[Entry] = []

    def search(folder: Path, parents: tuple[str, ...]) -> None:
        if any((folder / name).is_file() for name in names):
            entries.append(Entry(folder.resolve().name, folder, parents[:-1]))
            return
        if len(parents) < DEPTH:
            for child in sorted(folder.iterdir()):
                if child.is_dir() and not child.name.startswith("."):
                    search(child, (*parents, child.name))

    search(root, ())
    return entries
