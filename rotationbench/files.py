"""Files that appear whole or not at all, and hashes of their content."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None  # type: ignore[assignment]

FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the system answers when a disk is full."""
WITHOUT_FLOCK = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}
"""What file systems answer that have no `flock`, or whose lock server cannot be reached."""
TEMPORARY = ".tmp-"
LEFTOVER_SECONDS = 3600


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, with the same ending, that takes `path`'s place when the block ends well.

    A reader of `path` sees the old file or the new one, never a part, also after the machine lost power. When the
    block raises, the temporary file is removed and `path` stays as it was; when the process is killed, it is left for
    `abandoned`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY, suffix=path.suffix)
    temporary = Path(name)
    try:
        _claim(handle)
        yield temporary
        temporary.chmod(0o644)
        flush_to_disk(temporary)
        temporary.replace(path)
        flush_to_disk(path.parent)
    finally:
        os.close(handle)
        temporary.unlink(missing_ok=True)


@contextmanager
def folder_aside(parent: Path) -> Iterator[Path]:
    """A new folder below `parent` that is this process's alone and is removed after the block."""
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=parent, prefix=TEMPORARY))
    try:
        with _claimed(folder):
            yield folder
    finally:
        try:
            shutil.rmtree(folder, ignore_errors=True)
        except KeyboardInterrupt:
            shutil.rmtree(folder, ignore_errors=True)
            raise


def abandoned(root: Path) -> Iterator[Path]:
    """What killed processes left of `whole_file` and `folder_aside` below `root`; what a living one works with is not.

    Where the system or the file system has no advisory locks, leftovers count as abandoned after an hour.
    """
    for path in sorted(root.rglob(f"{TEMPORARY}*")):
        try:
            with _claimed(path, wait=False):
                yield path
        except OSError:
            # It belongs to a living process, or is gone.
            continue


def remove(path: Path) -> None:
    """Remove a file or a folder with everything in it; it need not be there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def flush_to_disk(path: Path) -> None:
    """Wait until a file's content, or what a folder lists, is on the disk, where the system can tell."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:  # folders on Windows
        return
    try:
        with suppress(OSError) if path.is_dir() else nullcontext():
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _claimed(path: Path, *, wait: bool = True) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _claim(descriptor, wait=wait)
        yield
    finally:
        os.close(descriptor)


def _claim(descriptor: int, *, wait: bool = True) -> None:
    """Lock what is open under `descriptor` until it is closed or the process ends.

    Raises:
        OSError: when another process holds it and `wait` is False.
    """
    if has_flock(descriptor, wait=wait):
        return
    if not wait and time.time() - os.fstat(descriptor).st_mtime < LEFTOVER_SECONDS:
        raise BlockingIOError("it is younger than an hour")


def has_flock(descriptor: int, *, wait: bool = False) -> bool:
    """Take the `flock` on what is open under `descriptor`; False where system or file system have none.

    Raises:
        OSError: when another process holds it and `wait` is False.
    """
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in WITHOUT_FLOCK:
            return False
        raise
    return True


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON, whole or not at all. NaN and infinity are refused, because JSON has no name for them."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    with whole_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        OSError: when it cannot be read.
        ValueError: when it is no JSON, or holds what could not be written again: numbers that are not finite, or text
            that UTF-8 does not have.
        RecursionError: when it is nested too deeply.
    """
    text = path.read_text(encoding="utf-8")
    content = json.loads(text, parse_float=_finite, parse_constant=_finite)
    if "\\ud" in text.lower():
        # Escaped halves of characters come in pairs, or are what no file and no terminal takes.
        json.dumps(content, ensure_ascii=False).encode()
    return content


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"a number that is not finite, {text:.20}")
    return number


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


def folder_state(folder: Path) -> str | None:
    """SHA-256 of names, sizes and times of all files below a folder, without their content; None where there is none.

    It changes whenever a file is written, so that what was made from the files needs no second look while it does not.
    """
    if not folder.is_dir():
        return None
    digest = hashlib.sha256()
    for name, status in _statuses(str(folder)):
        digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="surrogatepass"))
    return digest.hexdigest()


def _statuses(folder: str, prefix: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """The files below a folder, by the parts of their paths, with sizes and times; links to folders are left out."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=attrgetter("name"))
    except OSError:
        return
    for entry in entries:
        try:
            if entry.is_dir(follow_symlinks=False):
                yield from _statuses(entry.path, f"{prefix}{entry.name}{os.sep}")
            elif not stat.S_ISDIR((status := entry.stat()).st_mode):
                yield f"{prefix}{entry.name}", status
        except OSError:
            continue
