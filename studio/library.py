"""The data sets that the studio may read, and the one folder that it writes samples to."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rotationbench.config import resolve_path
from rotationbench.datasets import Dataset, open_dataset, write_sample
from rotationbench.datasets.validate import problems_of
from rotationbench.errors import ConfigError, DatasetError
from rotationbench.files import folder_aside, remove
from rotationbench.names import folded
from rotationbench.results.store import storage_errors
from rotationbench.sample import DragSample


class NameTakenError(DatasetError):
    """There is a sample of that name, and nobody said that it may be replaced."""


@dataclass
class Shelf:
    """A data set folder.

    Args:
        name: how the page calls it.
        root: the folder.
        writable: whether samples are saved there.
    """

    name: str
    root: Path
    writable: bool
    dataset: Dataset | None = None

    def listed(self) -> Dataset | None:
        """The data set as it is now; None for a folder that is absent or holds nothing yet.

        Raises:
            DatasetError: when there is something else in it.
        """
        if self.writable and not _holds_something(self.root):
            self.dataset = None
        else:
            self.dataset = open_dataset(self.root, split="any", check=False)
        return self.dataset


class Library:
    """Data sets by name.

    Args:
        samples: the folder that samples are saved in; it need not be there.
        data: further folders.

    Raises:
        ConfigError: when a folder cannot be one.
    """

    def __init__(self, samples: Path, data: Sequence[str]) -> None:
        roots = [(samples.expanduser(), True), *((Path(resolve_path(root)), False) for root in data)]
        self.shelves: dict[str, Shelf] = {}
        for root, writable in roots:
            key = "studio.samples" if writable else "studio.data"
            if not root.is_dir() and not (writable and not root.exists()):
                raise ConfigError(
                    f"{key}: {root}: expected a folder, found {'a file' if root.exists() else 'nothing'}."
                )
            if root.resolve() not in [shelf.root.resolve() for shelf in self.shelves.values()]:
                name = self._free_name(root.resolve().name or "samples")
                self.shelves[name] = Shelf(name, root, writable)
        self._saving = threading.Lock()

    @property
    def writable(self) -> Shelf:
        """The folder that samples are saved in."""
        return next(shelf for shelf in self.shelves.values() if shelf.writable)

    def _free_name(self, name: str) -> str:
        count = 2
        free = name
        while free in self.shelves:
            free, count = f"{name} ({count})", count + 1
        return free

    def shelf(self, name: str) -> Shelf:
        """The data set called `name`.

        Raises:
            DatasetError: when there is none.
        """
        if name not in self.shelves:
            raise DatasetError([f"data sets: expected one of {', '.join(self.shelves)}, got {name!r:.80}."])
        return self.shelves[name]

    def read(self, name: str, sample: str) -> DragSample:
        """A sample of the data set called `name`.

        Raises:
            DatasetError: when there is no such sample, or it cannot be read.
        """
        shelf = self.shelf(name)
        dataset = shelf.dataset
        if dataset is None or sample not in dataset.names:
            dataset = shelf.listed()
        if dataset is None or sample not in dataset.names:
            raise DatasetError([f"{name}: expected the name of a sample, got {sample!r:.80}."])
        return dataset[sample]

    def save(self, sample: DragSample, *, overwrite: bool) -> Path:
        """Write a sample, once it has been validated as a data set of its own.

        Args:
            sample: the sample.
            overwrite: whether one of the same name may be replaced.

        Returns:
            Its folder.

        Raises:
            DatasetError: with what is wrong with the sample.
            NameTakenError: when there is one of that name, or one that only capitals tell apart.
            ResultsError: when the disk is full or cannot be written to.
        """
        root = self.writable.root
        with self._saving, storage_errors(root):
            root.mkdir(parents=True, exist_ok=True)
            place = root / sample.name
            others = [path.name for path in root.iterdir() if folded(path.name) == folded(sample.name)]
            if others and not (overwrite and others == [sample.name] and place.is_dir()):
                raise NameTakenError([f"{place}: expected a name that is not taken, got that of {others[0]!r}."])
            with folder_aside(root) as work:
                staging = work / sample.name
                write_sample(staging, sample)
                _, problems = problems_of(staging, "rotationbench")
                if problems:
                    raise DatasetError([problem.replace(str(staging), sample.name) for problem in problems])
                if place.exists():
                    place.rename(work / "replaced")
                try:
                    staging.rename(place)
                except OSError:
                    if (work / "replaced").exists():
                        (work / "replaced").rename(place)
                    raise
                remove(work / "replaced")
        return place


def _holds_something(root: Path) -> bool:
    return root.is_dir() and any(path.is_dir() and not path.name.startswith(".") for path in root.iterdir())
