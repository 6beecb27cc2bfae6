"""Results on disk: a folder per edit whose record is the truth, and tables that are rebuilt from the records."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock

from rotationbench.files import sha256_of_file, whole_file, write_image, write_json

SCHEMA = 1
SAMPLES = "samples"
STAGING = ".staging"
LOCKS = ".locks"
LEFTOVER_SECONDS = 3600


@dataclass(frozen=True)
class Edit:
    """One edit on disk.

    Args:
        folder: `<results_dir>/<label>/<sample>`.
        record: the content of its `record.json`.
        metrics: the values of its `metrics.json` by name; empty when nothing was measured.
    """

    folder: Path
    record: dict[str, Any]
    metrics: dict[str, float | None]

    @property
    def done(self) -> bool:
        """Whether there is an edited picture."""
        return self.record["status"] == "done"


class ResultStore:
    """The edits below one folder.

    An edit's folder is prepared aside and put in its place by a rename, so that it is there whole or not at all, for
    a reader, after a kill, and for two runs into the same folder.

    Args:
        root: the results folder; it is made when the first edit is saved.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, label: str, sample: str) -> Path:
        """Where the edit of `sample` under `label` lies or would lie."""
        return self.root / label / sample

    def lock(self, label: str, sample: str) -> FileLock:
        """A lock on one edit; the system frees it when its process ends, however it ends."""
        locks = self.root / LOCKS
        locks.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(f"{label}/{sample}".encode()).hexdigest()[:24]
        return FileLock(locks / f"{name}.lock")

    def read(self, label: str, sample: str) -> Edit | None:
        """The edit, or None when there is none or it is not whole."""
        return read_edit(self.folder(label, sample))

    def save(
        self,
        record: dict[str, Any],
        *,
        image: np.ndarray | None = None,
        trace: dict[str, np.ndarray] | None = None,
    ) -> Path:
        """Put an edit in its place, with everything that belongs to it, or not at all.

        What stood in its place, metrics included, is gone afterwards: it described another edit.

        Args:
            record: with `label`, `sample.name` and all else that `record.json` holds; the files' hashes are added.
            image: uint8 `(H, W, 3)`, for `edited.png`.
            trace: arrays for `trace.npz`.

        Returns:
            The edit's folder.
        """
        staging = self.root / STAGING / uuid.uuid4().hex
        staging.mkdir(parents=True)
        try:
            if image is not None:
                write_image(staging / "edited.png", image)
            if trace is not None:
                with whole_file(staging / "trace.npz") as temporary:
                    np.savez_compressed(temporary, **trace)  # type: ignore[arg-type]
            files = {file.name: sha256_of_file(file) for file in sorted(staging.iterdir())}
            write_json(staging / "record.json", record | {"files": files})
            folder = self.folder(record["label"], record["sample"]["name"])
            _swap_in(staging, folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return folder

    def edits(self) -> Iterator[Edit]:
        """All whole edits, by label and sample."""
        for record_file in sorted(self.root.glob("*/*/record.json")):
            parts = record_file.relative_to(self.root).parts
            if parts[0] != SAMPLES and not parts[0].startswith("."):
                edit = read_edit(record_file.parent)
                if edit is not None:
                    yield edit

    def rebuild_tables(self) -> pd.DataFrame:
        """Write `edits.parquet` and `edits.csv`, one row per edit, from the records; returns the table."""
        with FileLock(self.root / LOCKS / "tables.lock"):
            table = edits_table(self.edits())
            with whole_file(self.root / "edits.parquet") as temporary:
                table.to_parquet(temporary, index=False)
            with whole_file(self.root / "edits.csv") as temporary:
                table.to_csv(temporary, index=False)
        return table

    def clean(self) -> None:
        """Remove what killed runs left aside. What is younger than an hour may belong to a run that goes on."""
        for leftover in (self.root / STAGING).glob("*"):
            if time.time() - leftover.stat().st_mtime > LEFTOVER_SECONDS:
                shutil.rmtree(leftover, ignore_errors=True)


def read_edit(folder: Path) -> Edit | None:
    """The edit in `folder`, or None when its record is missing or unreadable or one of its files is not as recorded."""
    try:
        record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
        whole = all(sha256_of_file(folder / name) == digest for name, digest in record["files"].items())
        if record["schema"] != SCHEMA or not whole:
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Edit(folder, record, read_metrics(folder))


def read_metrics(folder: Path) -> dict[str, float | None]:
    """The values of an edit's `metrics.json` by name, infinity written as `"inf"`; empty when there is none."""
    try:
        entries = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["metrics"]
        return {name: None if entry["value"] is None else float(entry["value"]) for name, entry in entries.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def edits_table(edits: Iterator[Edit]) -> pd.DataFrame:
    """One row per edit: who made it, of what, at what cost, how it ended, and its metrics under their own names.

    Distances are in pixels of the sample's picture; `final_distance` is the mean over the handles.
    """
    rows = []
    for edit in edits:
        record, sample = edit.record, edit.record["sample"]
        distances = record["final_distances"]
        rows.append(
            {
                "label": record["label"],
                "method": record["method"],
                "sample": sample["name"],
                "seed": record["seed"],
                "split": sample["split"],
                "category": sample["category"],
                "angle": sample["angle"],
                "status": record["status"],
                "error": None if record["error"] is None else record["error"]["message"],
                "seconds": record["seconds"],
                **{f"seconds_{phase}": seconds for phase, seconds in (record["phases"] or {}).items()},
                "unet_calls": record["unet_calls"],
                "unet_images": record["unet_images"],
                "peak_memory_mb": record["peak_memory_mb"],
                "steps": record["steps"],
                "converged": record["converged"],
                "final_distance": float(np.mean(distances)) if distances else None,
                **edit.metrics,
                "fingerprint": record["fingerprint"],
            }
        )
    table = pd.DataFrame(rows)
    if not table.empty:
        table["converged"] = table["converged"].astype("boolean")
    return table


def fingerprint(identity: dict[str, Any]) -> str:
    """SHA-256 of what decides an edit; two edits with the same one are the same edit."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """What changed from one nested dictionary to another, one `key: old → new` each."""
    found: list[str] = []
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            found += differences(before, after, f"{prefix}{key}.")
        elif before != after:
            found.append(f"{prefix}{key}: {_short(before)} → {_short(after)}")
    return found


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:12]}…"


def _swap_in(staging: Path, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    retired = staging.with_name(f"{staging.name}-retired")
    if folder.exists():
        folder.rename(retired)
    staging.rename(folder)
    shutil.rmtree(retired, ignore_errors=True)
