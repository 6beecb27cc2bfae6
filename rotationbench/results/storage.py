"""A disk that is full, or that cannot be written to, is one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rotationbench.errors import ResultsError
from rotationbench.files import FULL


@contextmanager
def storage_errors(root: Path) -> Iterator[None]:
    """Inside the block, a disk that is full or cannot be written to is one line.

    Raises:
        ResultsError: in place of the system's error.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise ResultsError(f"{root}: the disk is full ({error.strerror}); what was finished is kept.") from error
        place = root if error.filename is None else error.filename
        raise ResultsError(f"{place}: expected a folder that can be written to, got: {error.strerror}.") from error
