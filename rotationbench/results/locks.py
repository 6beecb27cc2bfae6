"""Locks on edits, so that several runs may fill and measure one results folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

from filelock import FileLock

LOCKS = ".locks"


def edit_lock(folder: Path) -> FileLock:
    """The lock on the edit in `<results_dir>/<label>/<sample>`; the system frees it when its process ends.

    Within a process it is one lock, which may be taken again by who holds it.
    """
    name = hashlib.sha256(f"{folder.parent.name}/{folder.name}".encode(errors="surrogatepass")).hexdigest()[:24]
    return _lock(folder.parent.parent, name)


def table_lock(root: Path) -> FileLock:
    """The lock on the tables of a results folder."""
    return _lock(root, "tables")


def _lock(root: Path, name: str) -> FileLock:
    locks = root / LOCKS
    locks.mkdir(parents=True, exist_ok=True)
    return FileLock(locks / f"{name}.lock", is_singleton=True)
