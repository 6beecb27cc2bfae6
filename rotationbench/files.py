"""Files that appear whole or not at all, and hashes of their content."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, with the same ending, that takes `path`'s place when the block ends well.

    A reader of `path` sees the old file or the new one, never a part, also after the machine lost power. When the block
    raises, the temporary file is removed and `path` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        _flush(temporary)
        temporary.replace(path)
        with suppress(OSError):  # some file systems, and Windows, cannot flush a folder
            _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Wait until a file's content, or what a folder lists, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON, whole or not at all. NaN and infinity are refused, because JSON has no name for them."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    with whole_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def write_image(path: Path, image: np.ndarray) -> None:
    """Write a uint8 `(H, W, 3)` RGB or `(H, W)` grey picture, whole or not at all; the ending names the format."""
    with whole_file(path) as temporary:
        Image.fromarray(image).save(temporary)


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def file_fault(path: Path) -> str | None:
    """What is at `path` where a plain file should be, as in "got a folder"; None when there is one."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "a link to nowhere" if path.is_symlink() else "no file"
    except (OSError, ValueError) as error:
        return f"a path that cannot be used ({getattr(error, 'strerror', None) or error})"
    if stat.S_ISDIR(mode):
        return "a folder"
    return None if stat.S_ISREG(mode) else "something that is no plain file"
