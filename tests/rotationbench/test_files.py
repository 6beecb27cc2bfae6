from __future__ import annotations

import errno
import hashlib
import json
import os

import numpy as np
import pytest
from PIL import Image

from rotationbench.files import folder_state, sha256_of_file, whole_file, write_image, write_json


def test_a_file_appears_whole_or_stays_as_it_was(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    with whole_file(path) as temporary:
        temporary.write_text("first")
        assert not path.exists()
    with pytest.raises(RuntimeError, match="midway"), whole_file(path) as temporary:
        temporary.write_text("second, but")
        raise RuntimeError("midway")
    assert path.read_text() == "first"
    assert [file.name for file in path.parent.iterdir()] == ["file.txt"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_json_holds_text_as_it_is_and_no_number_it_has_no_name_for(tmp_path):
    write_json(tmp_path / "a.json", {"prompt": "Käfer", "n": [1, 2.5]})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"prompt": "Käfer", "n": [1, 2.5]}
    assert "Käfer" in (tmp_path / "a.json").read_text(encoding="utf-8")
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="JSON"):
            write_json(tmp_path / "b.json", value)
    assert not (tmp_path / "b.json").exists()


@pytest.mark.parametrize("shape", [(5, 7, 3), (5, 7)])
def test_pictures_come_back_as_written(tmp_path, shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    write_image(tmp_path / "a.png", image)
    with Image.open(tmp_path / "a.png") as read:
        np.testing.assert_array_equal(np.array(read), image)


def test_hashes_are_those_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"rotation")
    assert sha256_of_file(tmp_path / "a") == hashlib.sha256(b"rotation").hexdigest()


def test_files_are_on_the_disk_before_they_take_their_place(tmp_path, monkeypatch):
    """What is flushed is the content under its temporary name, then the folder that lists the new name."""
    flushed = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        flushed.append((os.fstat(descriptor).st_ino, (tmp_path / "new.txt").exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    with whole_file(tmp_path / "new.txt") as temporary:
        temporary.write_text("new")
    assert flushed == [((tmp_path / "new.txt").stat().st_ino, False), (tmp_path.stat().st_ino, True)]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    (tmp_path / "file.txt").write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"), whole_file(tmp_path / "file.txt") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "file.txt").read_text() == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "file.txt"]


def test_the_state_of_a_folder_is_the_hash_of_the_names_sizes_and_times_below_it(tmp_path):
    folder = tmp_path / "folder"
    for name in ("a/deep/file", "a.txt", "b", "ä", "a/z"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "linked").symlink_to(folder / "b")
    (folder / "nowhere").symlink_to(folder / "missing")
    (folder / "loop").symlink_to(folder)
    digest = hashlib.sha256()
    for name in ("a/deep/file", "a/z", "a.txt", "b", "linked", "ä"):
        status = (folder / name).stat()
        digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    assert folder_state(folder) == digest.hexdigest()
    os.utime(folder / "a" / "z", ns=(0, 0))
    assert folder_state(folder) != digest.hexdigest()
    assert folder_state(folder / "b") is None
