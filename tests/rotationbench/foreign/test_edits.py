"""Which of the foreign files are edits, and of which samples."""

from __future__ import annotations

from pathlib import Path

import pytest
from foreign_edits import folder, found, png, zipped

from rotationbench.errors import DatasetError
from rotationbench.foreign import find_edits, open_files


def problems_of(path: Path, *samples: str) -> str:
    with open_files(path) as files, pytest.raises(DatasetError) as caught:
        find_edits(files, samples)
    return str(caught.value)


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
