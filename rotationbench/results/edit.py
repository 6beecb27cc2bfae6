"""`Edit`: an edit on disk as its record and metrics tell it, and the one reader of both."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rotationbench.files import read_json, sha256_of_file
from rotationbench.results.checking import check_record
from rotationbench.results.metrics_file import MetricsFile

RECORD_FILE = "record.json"
SAMPLES = "samples"

DAMAGED = "damaged"
"""The status of an edit whose record or files cannot be used."""


@dataclass(frozen=True)
class Edit:
    """One edit on disk.

    Args:
        folder: `<results_dir>/<label>/<sample>`.
        record: the content of its `record.json`; of a damaged one only what its place tells.
        metrics: the values of its `metrics.json` by name; empty when nothing was measured.
        damage: what is wrong with the record or the files; None when nothing is.
    """

    folder: Path
    record: dict[str, Any]
    metrics: dict[str, float | None] = field(default_factory=dict)
    damage: str | None = None

    @property
    def done(self) -> bool:
        """Whether there is an edited picture, made with the settings that were asked for last."""
        return self.damage is None and self.record["status"] == "done" and not self.record.get("remake")

    @property
    def label(self) -> str:
        """The row of the tables that the edit belongs to."""
        return self.record["label"]

    @property
    def sample_name(self) -> str:
        """The name of the sample that was edited."""
        return self.record["sample"]["name"]


def edit_folders(root: Path) -> list[Path]:
    """The folders of all edits in a results folder, by label and sample."""
    labels = [folder for folder in sorted(root.glob("*")) if folder.name != SAMPLES and not folder.name.startswith(".")]
    return [record.parent for label in labels for record in sorted(label.glob(f"*/{RECORD_FILE}"))]


def read_edit(folder: Path, *, thorough: bool = True) -> Edit | None:
    """The edit in `folder`, or None when there is no record.

    Args:
        folder: `<results_dir>/<label>/<sample>`.
        thorough: compare the files with their hashes; otherwise with their sizes, where the record has those.

    Returns:
        An edit with `damage` when the record cannot be used or a file is not as recorded.
    """
    path = folder / RECORD_FILE
    place: dict[str, Any] = {"label": folder.parent.name, "sample": {"name": folder.name}, "status": DAMAGED}

    def damaged(what: str) -> Edit:
        return Edit(folder, place, damage=f"{what} The edit counts as not made.")

    try:
        record = read_json(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        return damaged(f"{path}: expected a record in JSON, got: {str(error) or type(error).__name__}.")
    if fault := check_record(record):
        return damaged(f"{path}: {fault}")
    if (record["label"], record["sample"]["name"]) != (folder.parent.name, folder.name):
        return damaged(f"{path}: expected the record of this folder's edit, got that of another.")
    for name, digest in record["files"].items():
        if fault := _file_fault(folder / name, digest, record.get("sizes", {}).get(name), thorough):
            return damaged(f"{folder / name}: {fault}")
    return Edit(folder, record, MetricsFile.read(folder).values)


def _file_fault(path: Path, digest: str, size: int | None, thorough: bool) -> str | None:
    try:
        if size is not None and path.stat().st_size != size:
            return f"expected {size} bytes as recorded, got {path.stat().st_size}."
        if (thorough or size is None) and sha256_of_file(path) != digest:
            return "expected the file that was recorded, got other content."
    except OSError as error:
        return f"expected the file that was recorded, got: {error.strerror}."
    return None
