"""Locks between processes and machines: `flock` where the file system has it, leases in files where it has not."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLease

from rotationbench.files import has_flock

LEASES = "leases"
"""A file of this name in a folder of locks says that they are leases, for every process on every machine."""
LEASE_SECONDS = 60.0
"""How long a lease must be seen without a sign of life before it counts as abandoned; one is given every 20 s."""


def shared_lock(path: Path) -> BaseFileLock:
    """The lock in the file `path`, which all processes share; within a process it may be taken again by who holds it.

    An `flock` is freed by the system when its process ends, however it ends. A lease lies in a file that is created
    exclusively, which needs no support beyond that; when its holder dies, it is free at once for processes on the same
    machine, and for others after `LEASE_SECONDS` of their own clock, so that clocks need not agree. A lease is a hint:
    a holder that stood still for longer than that may find another at its work.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if uses_leases(path.parent):
        return SoftFileLease(path, lease_duration=LEASE_SECONDS, is_singleton=True)
    return FileLock(path, is_singleton=True)


def use_leases(folder: Path) -> None:
    """Let the locks in `folder` be leases, whatever its file system says about `flock`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / LEASES).touch()


def uses_leases(folder: Path) -> bool:
    """Whether the locks in `folder` are leases: by the mark in it, which is set where `flock` does not work."""
    if (folder / LEASES).exists():
        return True
    if _has_flock(folder):
        return False
    use_leases(folder)
    return True


@lru_cache(maxsize=64)
def _has_flock(folder: Path) -> bool:
    with (folder / "flock").open("a") as stream:
        try:
            return has_flock(stream.fileno()) or os.name == "nt"
        except BlockingIOError:
            # Another process is trying the same.
            return True
