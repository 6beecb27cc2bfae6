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
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from rotationbench.datasets.reading import Problems
from rotationbench.errors import ConfigError, DatasetError
from rotationbench.foreign import find_edits, open_files

SECONDS, MEGABYTES = 2, 500


def png(side: int = 40) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def zipped(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def folder(root: Path, **files: bytes) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def found(path: Path, *samples: str) -> dict[str, str]:
    with open_files(path) as files:
        return {sample: str(name) for sample, name in find_edits(files, samples).pictures.items()}


def problems_of(path: Path, *samples: str) -> str:
    with open_files(path) as files, pytest.raises(DatasetError) as caught:
        find_edits(files, samples)
    return str(caught.value)


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


def test_an_archive_of_one_sample_s_folder_is_not_taken_for_a_wrapper(tmp_path):
    assert found(zipped(tmp_path / "a.zip", ("cat/edited.png", b"-")), "cat") == {"cat": "cat/edited.png"}


def test_strangers_are_refused_by_name(tmp_path):
    strangers = {"bird.png": b"-", "notes.txt": b"-", "horse/edited.png": b"-", "cat.gif": b"-", "cup/edited.bmp": b"-"}
    root = folder(tmp_path / "edits", **{"dog.png": b"-"}, **strangers)
    text = problems_of(root, "cat", "dog", "cup")
    for name in ("bird.png", "notes.txt", "horse", "cat.gif", "cup/edited.bmp"):
        assert f"{root / name}: expected the edit of a sample" in text
    assert "dog.png" not in text
    many = zipped(tmp_path / "many.zip", *((f"x{number}.png", b"-") for number in range(50)))
    assert "30 more belong to no sample" in problems_of(many, "cat")


def test_two_edits_of_one_sample_are_refused(tmp_path):
    root = folder(tmp_path / "edits", **{"cat.png": b"-", "cat.jpg": b"-", "dog.png": b"-", "dog/edited.png": b"-"})
    text = problems_of(root, "cat", "dog")
    assert "expected one edit of cat, got cat.jpg and cat.png" in text
    assert "expected one edit of dog, got dog/edited.png and dog.png" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sample,seconds\ncat,1.5\n\ndog, 2\n", {"cat": 1.5, "dog": 2.0}),
        ("\ufeffcat,0\r\n", {"cat": 0.0}),
        ("cat,soon", "a sample and its seconds, 0 to 1e+07, in row 1"),
        ("sample,seconds\ncat,-1", "in row 2"),
        ("cat,nan", "in row 1"),
        ("cat,1e999", "in row 1"),
        ("cat,1,2", "in row 1"),
        ("cat,1\ncat,2", "each sample once, got 'cat' again in row 2"),
        ("bird,1", "the name of a sample in row 1, got 'bird'"),
        ("\udcff", "a table in UTF-8"),
    ],
)
def test_seconds(tmp_path, text, expected):
    content = text.encode(errors="surrogateescape")
    root = folder(tmp_path / "edits", **{"cat.png": b"-", "seconds.csv": content})
    if isinstance(expected, str):
        assert expected in problems_of(root, "cat", "dog")
        return
    with open_files(root) as files:
        assert find_edits(files, ["cat", "dog"]).seconds == expected


@pytest.mark.parametrize("content", [b"no picture", png()[:-50], b""])
def test_a_broken_picture_is_named(tmp_path, content):
    root = folder(tmp_path / "edits", **{"cat.png": content})
    packed = zipped(tmp_path / "edits.zip", ("cat.png", content))
    for path in (root, packed):
        with open_files(path) as files:
            (problem,) = find_edits(files, ["cat"]).problems(["cat"])
        assert problem.startswith(f"{path / 'cat.png'}: expected")


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
