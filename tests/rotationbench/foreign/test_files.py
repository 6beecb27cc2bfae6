"""Where foreign edits lie: folders and archives, hostile ones among them."""

from __future__ import annotations

import io
import os
import resource
import stat
import struct
import time
import zipfile
from contextlib import suppress
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from foreign_edits import folder, found, png, zipped
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from rotationbench.datasets.reading import Problems
from rotationbench.errors import ConfigError, DatasetError
from rotationbench.foreign import find_edits, open_files

SECONDS, MEGABYTES = 2, 500


FILES = {"cat.png": png(), "DOG.JPG": b"-", "v1.0.webp": b"-", "cup/edited.png": b"-", "cup/record.json": b"{}"}
EDITS = {"cat": "cat.png", "dog": "DOG.JPG", "v1.0": "v1.0.webp", "cup": "cup/edited.png"}


def test_a_folder_and_an_archive_of_it_hold_the_same_edits(tmp_path):
    root = folder(tmp_path / "edits", **FILES, **{".hidden": b"", ".git/config": b""})
    assert found(root, *EDITS, "bird") == EDITS
    junk = [("__MACOSX/._cat.png", b"-"), (".DS_Store", b"-")]
    assert found(zipped(tmp_path / "flat.zip", *FILES.items(), *junk), *EDITS) == EDITS
    wrapped = zipped(tmp_path / "wrapped.zip", *((f"mine/{name}", content) for name, content in FILES.items()), *junk)
    assert found(wrapped, *EDITS) == {sample: f"mine/{name}" for sample, name in EDITS.items()}
    with open_files(wrapped) as files:
        assert np.array_equal(find_edits(files, list(EDITS)).read("cat").image, Image.open(io.BytesIO(png())))
        assert files.read(PurePosixPath("mine/cat.png"), Problems(), largest=10**6) == png()


def test_what_is_neither_folder_nor_archive_is_refused(tmp_path):
    (tmp_path / "text").write_text("no archive")
    zipped(tmp_path / "cut.zip", ("cat.png", png()))
    (tmp_path / "cut.zip").write_bytes((tmp_path / "cut.zip").read_bytes()[:-30])
    os.mkfifo(tmp_path / "pipe")
    for name in ("text", "cut.zip", "pipe", "nowhere"):
        with pytest.raises(ConfigError, match=rf"edits: .*{name}: expected a folder or a zip archive, got"):
            found(tmp_path / name, "cat")


def link(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


def with_password(path: Path) -> Path:
    content = bytearray(zipped(path, ("cat.png", png())).read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.rfind(signature) + offset] |= 1
    path.write_bytes(content)
    return path


def packed_otherwise(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("cat.png", png())
    return path


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda path: zipped(path, ("../cat.png", png())), "expected names that stay inside, got '../cat.png'"),
        (lambda path: zipped(path, ("/etc/cat.png", png())), "names that stay inside"),
        (lambda path: zipped(path, ("a/./cat.png", png())), "names that stay inside"),
        (lambda path: zipped(path, ("a\\cat.png", png())), "names with slashes between folders"),
        (lambda path: zipped(path, ("cat\x1b[31m.png", png())), "printable names"),
        (lambda path: zipped(path, (link("cat.png"), b"/etc/passwd")), "which is a link or a device"),
        (lambda path: zipped(path, ("cat.png", png()), ("CAT.png", png())), "got 'CAT.png' twice"),
        (with_password, "files without a password"),
        (packed_otherwise, "stored or deflated files"),
    ],
)
def test_archives_that_cannot_be_trusted_are_refused(tmp_path, make, fault):
    path = make(tmp_path / "edits.zip")
    with pytest.raises(ConfigError, match=r"^edits: ") as caught:
        found(path, "cat")
    assert fault in str(caught.value) and str(caught.value).isprintable()


def test_bombs_cost_next_to_nothing(tmp_path):
    """A file of 272 MiB, one whose size is a lie, and a table of files for a million."""
    big = tmp_path / "big.zip"
    with zipfile.ZipFile(big, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("cat.png", "w") as stream:
        for _ in range(17):
            stream.write(bytes(2**24))
    lie = tmp_path / "lie.zip"
    content = bytearray(big.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<L", content, content.rfind(signature) + offset, 1000)
    lie.write_bytes(content)
    table = tmp_path / "table.zip"
    zipped(table, ("cat.png", png()))
    content = bytearray(table.read_bytes())
    struct.pack_into("<L", content, content.rfind(b"PK\x05\x06") + 12, 2**30)
    table.write_bytes(content)
    many = tmp_path / "many.zip"
    content = bytearray(zipped(many, ("cat.png", png())).read_bytes())
    struct.pack_into("<H", content, content.rfind(b"PK\x05\x06") + 10, 2**16 - 1)
    many.write_bytes(content)

    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    for path, fault in ((big, "at most 268435456 bytes"), (lie, "can be unpacked")):
        with open_files(path) as files:
            (problem,) = find_edits(files, ["cat"]).problems(["cat"])
        assert fault in problem
    for path, fault in ((table, "a table of files of at most"), (many, "at most 65,534 files")):
        with pytest.raises(ConfigError, match=fault):
            found(path, "cat")
    assert time.process_time() - began < 1
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 200


def check_mutation(path: Path, original: bytes, changes: list[tuple[float, bytes]]) -> None:
    content = bytearray(original)
    for place, value in changes:
        at = int(place * len(content))
        content[at : at + len(value)] = value
    path.write_bytes(content)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with suppress(ConfigError, DatasetError), open_files(path) as files:
        edits = find_edits(files, ["cat", "dog"])
        assert all(problem.isprintable() for problem in edits.problems(list(edits.pictures)))
    assert time.process_time() - began < SECONDS
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MEGABYTES


mutations = st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4)


SEEDED = settings(derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), database=None)


def test_300_mutated_archives_are_edits_or_one_error(tmp_path):
    members = ("cat.png", png(32)), ("dog/edited.png", png(33)), ("seconds.csv", b"cat,1\n")
    original = zipped(tmp_path / "original.zip", *members).read_bytes()

    @settings(SEEDED, max_examples=300)
    @given(mutations)
    def campaign(changes):
        check_mutation(tmp_path / "mutated.zip", original, changes)

    campaign()
