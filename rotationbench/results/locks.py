"""Locks on edits, so that several runs may fill and measure one results folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

from filelock import BaseFileLock

from rotationbench.locks import shared_lock

LOCKS = ".locks"


def edit_lock(folder: Path) -> BaseFileLock:
    """The lock on the edit in `<results_dir>/<label>/<sample>`; it does not outlive its holder, see `shared_lock`."""
    name = hashlib.sha256(f"{folder.parent.name}/{folder.name}".encode(errors="surrogatepass")).hexdigest()[:24]
    return shared_lock(folder.parent.parent / LOCKS / f"{name}.lock")


def table_lock(root: Path) -> BaseFileLock:
    """The lock on the tables of a results folder."""
    return shared_lock(root / LOCKS / "tables.lock")
