"""A folder or a zip archive, seen alike: names of files, and their bytes."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import Protocol

from rotationbench.datasets.reading import Problems, read_bytes
from rotationbench.errors import ConfigError
from rotationbench.files import file_fault
from rotationbench.names import folded, printable, shortened

DEPTH = 3
LARGEST_DIRECTORY_BYTES = 32 * 2**20
"""Of the table at an archive's end, which is read as a whole; 65,534 files with long names have one of 15 MB."""
LARGEST_TOTAL_BYTES = 64 * 2**30
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""The two whose output can be bounded while they unpack."""
ENCRYPTED = 0x1
END_RECORD = struct.Struct("<4s4H2LH")
END_SIGNATURE = b"PK\x05\x06"
LONGEST_COMMENT = 2**16 - 1
PASSED_OVER = "__MACOSX"
"""What one system's archiver puts beside the files."""


class Files(Protocol):
    """Where foreign edits lie."""

    def names(self) -> list[PurePosixPath]:
        """Every file that is not hidden, by its path, in order; a folder's at most three levels deep."""
        ...

    def place(self, name: PurePosixPath) -> Path:
        """What messages call a file."""
        ...

    def read(self, name: PurePosixPath, problems: Problems, *, largest: int) -> bytes | None:
        """A file's bytes, or None after noting in `problems` why there are none, such as more than `largest`."""
        ...


@contextmanager
def open_files(path: Path) -> Iterator[Files]:
    """The files in the folder or the archive at `path`.

    Raises:
        ConfigError: when it is neither, or the archive cannot be trusted: names that lead elsewhere or occur twice,
            links, passwords, or sizes beyond all sense. Nothing is unpacked to find that out.
    """
    wanted = "a folder or a zip archive"
    if not path.is_dir() and (fault := file_fault(path)):
        raise _refused(path, wanted, fault)
    with ExitStack() as stack:
        try:
            if path.is_dir():
                files: Files = FolderFiles(path)
            else:
                _check_directory(path)
                files = ZipFiles(path, stack.enter_context(zipfile.ZipFile(path)))
        except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
            raise _refused(path, wanted, printable(str(error)) or type(error).__name__) from error
        yield files


class FolderFiles:
    """A folder's files, at most three levels deep.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._names = sorted(_files_below(root, PurePosixPath(), DEPTH))

    def names(self) -> list[PurePosixPath]:
        """See `Files.names`."""
        return self._names

    def place(self, name: PurePosixPath) -> Path:
        """See `Files.place`."""
        return self.root / name

    def read(self, name: PurePosixPath, problems: Problems, *, largest: int) -> bytes | None:
        """See `Files.read`."""
        return read_bytes(self.place(name), problems, largest=largest)


class ZipFiles:
    """The files in an archive.

    Args:
        path: where the archive is.
        archive: the same, open.

    Raises:
        ConfigError: when the archive cannot be trusted; see `open_files`.
    """

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self.path, self.archive = path, archive
        self._members: dict[PurePosixPath, zipfile.ZipInfo] = {}
        seen: set[str] = set()
        for member in archive.infolist():
            if fault := _member_fault(member):
                raise _refused(path, *fault)
            if (name := folded(member.filename.rstrip("/"))) in seen:
                raise _refused(path, "files with names of their own", f"{shortened(member.filename)} twice")
            seen.add(name)
            parts = PurePosixPath(member.filename).parts
            if not member.is_dir() and parts[0] != PASSED_OVER and not any(part.startswith(".") for part in parts):
                self._members[PurePosixPath(*parts)] = member
        if (total := sum(member.file_size for member in self._members.values())) > LARGEST_TOTAL_BYTES:
            raise _refused(path, f"at most {LARGEST_TOTAL_BYTES} bytes when unpacked", str(total))

    def names(self) -> list[PurePosixPath]:
        """See `Files.names`."""
        return sorted(self._members)

    def place(self, name: PurePosixPath) -> Path:
        """See `Files.place`."""
        return self.path / name

    def read(self, name: PurePosixPath, problems: Problems, *, largest: int) -> bytes | None:
        """See `Files.read`."""
        member = self._members[name]
        if member.file_size > largest:
            problems.expected(self.place(name), f"at most {largest} bytes", str(member.file_size))
            return None
        try:
            with self.archive.open(member) as stream:
                # What the archive claims is all that is unpacked, whatever else is packed behind it.
                return stream.read(member.file_size + 1)
        except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
            problems.expected(self.place(name), "a file that can be unpacked", str(error) or type(error).__name__)
            return None


def _files_below(folder: Path, inner: PurePosixPath, depth: int) -> Iterator[PurePosixPath]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if depth > 1 and Path(entry.path).is_dir():
                yield from _files_below(Path(entry.path), inner / entry.name, depth - 1)
            else:
                yield inner / entry.name


def _check_directory(path: Path) -> None:
    """Refuse an archive whose table of files is too large to be read.

    Raises:
        BadZipFile: when there is no such table.
        ConfigError: when it is too large, or of the kind for more than 65,535 files or 4 GiB.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        stream.seek(max(0, size - END_RECORD.size - LONGEST_COMMENT))
        tail = stream.read()
    start = tail.rfind(END_SIGNATURE)
    if start < 0 or start + END_RECORD.size > len(tail):
        raise zipfile.BadZipFile("another file")
    *_, count, length, offset, _ = END_RECORD.unpack_from(tail, start)
    if count == 2**16 - 1 or length == 2**32 - 1 or offset == 2**32 - 1:
        raise _refused(
            path, "an archive of at most 65,534 files and 4 GiB", "a larger one; unpack it and name the folder"
        )
    if length > LARGEST_DIRECTORY_BYTES:
        raise _refused(path, f"a table of files of at most {LARGEST_DIRECTORY_BYTES} bytes", str(length))


def _member_fault(member: zipfile.ZipInfo) -> tuple[str, str] | None:
    """What a file of an archive should be, and what it is instead; None when nothing is wrong with it."""
    name, kind = member.orig_filename, stat.S_IFMT(member.external_attr >> 16)
    shown = shortened(name)
    parts = name.removesuffix("/").split("/")
    faults = {
        ("names that stay inside", shown): any(part in ("", ".", "..") for part in parts),
        ("names with slashes between folders", shown): "\\" in name,
        ("printable names", shown): not name.isprintable(),
        ("files and folders", f"{shown}, which is a link or a device"): kind not in (0, stat.S_IFREG, stat.S_IFDIR),
        ("files without a password", f"{shown} with one"): bool(member.flag_bits & ENCRYPTED),
        ("stored or deflated files", f"{shown} packed in another way"): member.compress_type not in METHODS,
    }
    return next((fault for fault, wrong in faults.items() if wrong), None)


def _refused(path: Path, expected: str, got: str) -> ConfigError:
    return ConfigError(f"edits: {printable(str(path))}: expected {expected}, got {got}.")
