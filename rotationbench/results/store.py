"""`ResultStore`: edits and the samples they were made from, each in a folder that is whole or not there."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import BaseFileLock

from rotationbench.datasets import open_dataset, write_sample
from rotationbench.errors import DatasetError, ResultsError, RotationBenchError
from rotationbench.files import (
    abandoned,
    flush_to_disk,
    folder_aside,
    remove,
    sha256_of_file,
    whole_file,
    write_image,
    write_json,
)
from rotationbench.results.edit import RECORD_FILE, SAMPLES, Edit, edit_folders, read_edit
from rotationbench.results.index import Index
from rotationbench.results.locks import edit_lock
from rotationbench.results.storage import storage_errors
from rotationbench.sample import DragSample

EDITED_FILE = "edited.png"
TRACE_FILE = "trace.npz"
STAGING = ".staging"
RETIRED = "retired"

log = logging.getLogger(__name__)


class ResultStore:
    """The edits below one folder, and a copy of each sample that they were made from.

    A folder is prepared aside and put in its place by a rename, so that it is there whole or not at all: for a reader,
    after a kill, on a full disk, and for two runs into the same folder.

    Args:
        root: the results folder; it is made when the first edit is saved.

    Attributes:
        index: what is known of all edits in short.

    Raises:
        ResultsError: when `root` is there and is no folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser()
        self.index = Index(self.root)
        try:
            taken = self.root.exists() and not self.root.is_dir()
        except OSError as error:
            raise ResultsError(f"results_dir: {self.root}: expected a folder, got: {error.strerror}.") from error
        if taken:
            raise ResultsError(f"results_dir: {self.root}: expected a folder, got a file.")

    def make(self) -> None:
        """Make the folder and see that it can be written to.

        Raises:
            ResultsError: when it cannot.
        """
        with storage_errors(self.root), folder_aside(self.root / STAGING):
            pass

    def folder(self, label: str, sample: str) -> Path:
        """Where the edit of `sample` under `label` lies or would lie."""
        return self.root / label / sample

    def lock(self, label: str, sample: str) -> BaseFileLock:
        """The lock on one edit, see `shared_lock`."""
        return edit_lock(self.folder(label, sample))

    def read(self, label: str, sample: str) -> Edit | None:
        """The edit, or None when there is none or it is not whole; its files are compared with their hashes."""
        edit = read_edit(self.folder(label, sample))
        return None if edit is None or edit.damage is not None else edit

    def glance(self, label: str, sample: str) -> Edit | None:
        """As `read`, but of the files only sizes are compared: for finding out what is done among thousands."""
        edit = read_edit(self.folder(label, sample), thorough=False)
        return None if edit is None or edit.damage is not None else edit

    def save(
        self,
        record: dict[str, Any],
        *,
        image: np.ndarray | None = None,
        trace: dict[str, np.ndarray] | None = None,
    ) -> Edit:
        """Put an edit in its place, with everything that belongs to it, or not at all.

        What stood in its place, metrics included, is gone afterwards: it described another edit.

        Args:
            record: with `label`, `sample.name` and all else that `record.json` holds; the files' hashes and sizes are
                added.
            image: uint8 `(H, W, 3)`, for `edited.png`.
            trace: arrays for `trace.npz`.

        Raises:
            ResultsError: when the disk is full or cannot be written to.
        """
        folder = self.folder(record["label"], record["sample"]["name"])
        with self._replacing(folder) as staging:
            if image is not None:
                write_image(staging / EDITED_FILE, image)
            if trace is not None:
                with whole_file(staging / TRACE_FILE) as temporary:
                    np.savez_compressed(temporary, **trace)  # type: ignore[arg-type]
            files = sorted(staging.iterdir())
            record = record | {
                "files": {file.name: sha256_of_file(file) for file in files},
                "sizes": {file.name: file.stat().st_size for file in files},
            }
            write_json(staging / RECORD_FILE, record)
        return Edit(folder, record)

    def put(self, label: str, sample: str, files: Mapping[str, bytes], *, replace: bool) -> None:
        """Put files of an edit that was made elsewhere in their place.

        Args:
            label: the row of the tables that the edit belongs to.
            sample: the name of the sample that was edited.
            files: their content by name.
            replace: they are all there is to be, whole or not at all; otherwise each takes the place of its predecessor.

        Raises:
            ResultsError: when the disk is full or cannot be written to.
        """
        folder = self.folder(label, sample)
        if replace:
            with self._replacing(folder) as staging:
                write_files(staging, files)
        else:
            with storage_errors(self.root):
                write_files(folder, files)

    def restate(self, edit: Edit, changes: dict[str, Any]) -> Edit:
        """Correct what the record of an edit says, and leave its files as they are."""
        record = edit.record | changes
        with storage_errors(self.root):
            write_json(edit.folder / RECORD_FILE, record)
        return Edit(edit.folder, record, edit.metrics)

    def keep_sample(self, sample: DragSample, *, replace: bool) -> bool:
        """Copy the sample into the results, so that they can be read without the data set, unless a copy is there.

        A broken copy, or one with other facts about the sample, is written again.

        Args:
            sample: the sample.
            replace: also write over a copy of another picture, mask, prompt or points under the same name.

        Returns:
            Whether it was written.

        Raises:
            DatasetError: when there is such a copy and it is not to be replaced.
            ResultsError: when the disk is full or cannot be written to.
        """
        try:
            kept = self.sample(sample.name)
        except RotationBenchError:
            kept = None
        if kept is not None and kept.full_digest == sample.full_digest:
            return False
        if kept is not None and kept.digest != sample.digest and not replace:
            raise DatasetError(
                [
                    f"{self.folder(SAMPLES, sample.name)}: expected the sample that is being edited, got another "
                    "picture, mask, prompt or points under its name; use another results_dir, or overwrite=true to "
                    "replace it."
                ]
            )
        with self._replacing(self.folder(SAMPLES, sample.name)) as staging:
            write_sample(staging, sample)
        return True

    def sample(self, name: str) -> DragSample:
        """The copy of the sample called `name`.

        Raises:
            DatasetError: when there is none, or it cannot be read.
        """
        folder = self.folder(SAMPLES, name)
        if not folder.is_dir():
            raise DatasetError([f"{folder}: expected the sample that edits were made from, got no folder."])
        return open_dataset(folder, "rotationbench", check=False)[name]

    def edits(self) -> Iterator[Edit]:
        """All edits, by label and sample, the damaged ones included, which are logged; of their files only sizes are
        compared.
        """
        for folder in edit_folders(self.root):
            edit = read_edit(folder, thorough=False)
            if edit is not None:
                if edit.damage is not None:
                    log.warning("%s", edit.damage)
                yield edit

    def edits_of(self, variant: str) -> Iterator[Edit]:
        """The edits under labels that begin with a variant's name, in short, the damaged ones left out; see `Index`."""
        edits = self.index.edits()
        return (edit for edit in edits if edit.damage is None and edit.label.startswith(variant))

    def clean(self) -> None:
        """Put back or remove what runs left aside when they were killed; what a running one works with stays."""
        with storage_errors(self.root):
            for leftover in abandoned(self.root):
                for retired in leftover.glob(f"{RETIRED}/*/*"):
                    # Its successor was not in its place yet.
                    place = self.folder(retired.parent.name, retired.name)
                    if not place.exists():
                        place.parent.mkdir(parents=True, exist_ok=True)
                        retired.rename(place)
                remove(leftover)

    @contextmanager
    def _replacing(self, folder: Path) -> Iterator[Path]:
        """A new folder that takes the place of `folder` when the block ends well."""
        with storage_errors(self.root), folder_aside(self.root / STAGING) as work:
            staging, retired = work / "new", work / RETIRED / folder.parent.name / folder.name
            staging.mkdir()
            yield staging
            flush_to_disk(staging)
            folder.parent.mkdir(parents=True, exist_ok=True)
            if folder.exists():
                retired.parent.mkdir(parents=True)
                folder.rename(retired)
            try:
                staging.rename(folder)
            except OSError:
                if retired.exists():
                    retired.rename(folder)
                raise
            flush_to_disk(folder.parent)


def read_files(folder: Path, pattern: str = "[!.]*") -> dict[str, bytes]:
    """The content of the files of an edit by name; empty when there are none."""
    return {file.name: file.read_bytes() for file in sorted(folder.glob(pattern)) if file.is_file()}


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files by name, each whole or not at all."""
    for name, content in files.items():
        with whole_file(folder / name) as temporary:
            temporary.write_bytes(content)
