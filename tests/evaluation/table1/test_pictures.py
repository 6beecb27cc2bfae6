import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageFile
from table1_inputs import save_picture

from evaluation.table1.pairs import Protocol, check_pictures
from evaluation.table1.pictures import Picture, described, open_pictures
from rotationbench.errors import ConfigError, DatasetError


def test_a_folder_gives_its_pictures_in_order_of_their_names(tmp_path):
    for name in ("b.png", "a.jpg", "sub/c.ppm", ".hidden/d.png"):
        save_picture(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    assert [picture.name for picture in open_pictures(tmp_path)] == ["a.jpg", "b.png", "sub/c.ppm"]


def test_grey_and_transparent_pictures_become_rgb(tmp_path):
    for mode in ("L", "RGBA"):
        path = tmp_path / f"{mode}.png"
        Image.new(mode, (30, 20), 128 if mode == "L" else (10, 20, 30, 255)).save(path)
        image = Picture(mode, path).read()
        assert image.shape == (20, 30, 3)
        assert image.dtype == np.uint8


def save_sequences(root: Path, *names: str, files: tuple[str, ...] = ("1.ppm", "2.ppm", "H_1_2")) -> None:
    for name in names:
        for file in files:
            if file.endswith(".ppm"):
                save_picture(root / name / file, (12, 16))
            else:
                (root / name / file).write_text("1 0 0\n0 1 0\n0 0 1\n")


RELEASE = "hpatches-sequences-release"


@pytest.mark.parametrize("format", ["auto", "hpatches"])
@pytest.mark.parametrize("below", ["", RELEASE, f"{RELEASE}/{RELEASE}", "copies/unpacked"])
def test_hpatches_gives_the_reference_of_each_illumination_sequence(tmp_path, below, format):
    root = tmp_path / below
    save_sequences(root, "i_b", "i_a", "v_c")
    # What some archives and file systems leave behind is neither a sequence nor a picture.
    save_picture(tmp_path / "__MACOSX/i_a/.1.ppm")
    save_picture(tmp_path / "beside.ppm")
    pictures = open_pictures(tmp_path, format)
    assert [picture.name for picture in pictures] == ["i_a", "i_b"]
    assert [picture.path for picture in pictures] == [root / "i_a/1.ppm", root / "i_b/1.ppm"]
    assert described(pictures) == "2 of 57 illumination sequences of HPatches"


@pytest.mark.parametrize("format", ["auto", "hpatches"])
def test_a_sequence_without_its_reference_is_named(tmp_path, format):
    save_sequences(tmp_path, "i_a", "i_b")
    save_sequences(tmp_path, "i_c", "i_d", files=("2.ppm", "H_1_2"))
    (tmp_path / "i_d/1.ppm").mkdir()
    with pytest.raises(DatasetError) as caught:
        open_pictures(tmp_path, format)
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        str(tmp_path / "i_c/1.ppm"),
        str(tmp_path / "i_d/1.ppm"),
    ]


@pytest.mark.parametrize("format", ["auto", "hpatches"])
def test_sequences_that_all_lack_their_reference_are_one_line(tmp_path, format):
    save_sequences(tmp_path / RELEASE, "i_a", "i_b", "i_c", files=("2.ppm", "3.ppm"))
    with pytest.raises(DatasetError, match=rf"{RELEASE}: expected `1\.ppm` .* any of 3") as caught:
        open_pictures(tmp_path, format)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("format", ["auto", "hpatches"])
def test_viewpoint_sequences_alone_are_refused(tmp_path, format):
    save_sequences(tmp_path, "v_abstract", "v_wall")
    with pytest.raises(DatasetError, match=r"`v_\*`\) alone"):
        open_pictures(tmp_path, format)


def test_sequences_that_cannot_be_told_apart_or_lie_too_deep_are_refused(tmp_path):
    save_sequences(tmp_path / "two/first", "i_a")
    save_sequences(tmp_path / "two/second", "i_b")
    with pytest.raises(DatasetError, match="got 2: first, second"):
        open_pictures(tmp_path / "two")
    save_sequences(tmp_path / "deep/a/b/c", "i_a")
    with pytest.raises(DatasetError, match=r"two levels below, got a/b/c/i_a/1\.ppm"):
        open_pictures(tmp_path / "deep")


def test_a_format_that_is_asked_for_is_what_is_read(tmp_path):
    save_sequences(tmp_path, "i_a")
    assert [picture.name for picture in open_pictures(tmp_path, "pictures")] == ["i_a/1.ppm", "i_a/2.ppm"]
    save_picture(tmp_path / "plain/i_am_a_folder/photo.ppm")
    assert [picture.name for picture in open_pictures(tmp_path / "plain")] == ["i_am_a_folder/photo.ppm"]
    with pytest.raises(DatasetError, match=r"expected HPatches sequences .* got none"):
        open_pictures(tmp_path / "plain", "hpatches")
    with pytest.raises(ConfigError, match=r"data\.format: .* got 'dragbench_dr'"):
        open_pictures(tmp_path, "dragbench_dr")


def test_what_pictures_are_is_said_with_their_number():
    plain, sequence = Picture("a", Path("a")), Picture("i_a", Path("i_a/1.ppm"), hpatches=True)
    assert described([plain]) == "1 picture"
    assert described([plain] * 13) == "13 pictures"
    assert described([sequence] * 52) == "52 of 57 illumination sequences of HPatches"
    assert described([sequence] * 60) == "60 illumination sequences, where the release of HPatches has 57"


def test_folders_without_pictures_are_named(tmp_path):
    with pytest.raises(DatasetError, match="nowhere"):
        open_pictures(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match=r"got none"):
        open_pictures(tmp_path)


def test_file_names_of_pictures_are_one_component_and_all_different():
    names = ["x/y.jpg", "x-y.jpg", "x%2Fy.jpg", "x\\y.jpg", "x%5Cy.jpg", "größe $1.jpg"]
    files = [Picture(name, Path(name)).file_name for name in names]
    assert len(set(files)) == len(names)
    assert not any("/" in name or "\\" in name for name in files)
    assert files[-1] == names[-1]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["A.png", "a.png"], r"names differ in more than capitals, got A\.png and a\.png"),
        (["n" * 201 + ".png"], "at most 200 bytes"),
        (["line\nbreak.png"], "a control character"),
        ([os.fsdecode(b"caf\xe9.png")], "a lone surrogate"),
    ],
)
def test_names_that_cannot_be_file_names_are_refused(tmp_path, names, message):
    for name in names:
        save_picture(tmp_path / name)
    with pytest.raises(DatasetError, match=message):
        open_pictures(tmp_path)


def test_pictures_that_cannot_be_used_are_all_named(tmp_path):
    save_picture(tmp_path / "good.png")
    save_picture(tmp_path / "small.png", (80, 80))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(DatasetError) as caught:
        check_pictures(open_pictures(tmp_path), Protocol())
    assert len(caught.value.problems) == 2
    assert "broken.png" in str(caught.value)
    assert "small.png" in str(caught.value)
    assert "80 × 80" in str(caught.value)


def png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG, and its end: what a decompression bomb looks like before it is decoded."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_kind_32_decompression_bombs_and_foreign_formats_are_refused_before_decoding(tmp_path, monkeypatch):
    (tmp_path / "bomb.png").write_bytes(png_header(30_000, 30_000))
    (tmp_path / "wide.png").write_bytes(png_header(20_000, 100))
    (tmp_path / "postscript.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 300 300\n%%EndComments\n")
    Image.new("RGB", (200, 200)).save(tmp_path / "icon.png", format="ICO")
    (tmp_path / "nowhere.png").symlink_to(tmp_path / "absent")
    whole = save_picture(tmp_path / "truncated.png", (300, 300)).read_bytes()
    (tmp_path / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.jpg").write_bytes(b"")
    names = ["bomb.png", "empty.jpg", "icon.png", "nowhere.png", "postscript.png", "truncated.png", "wide.png"]
    decoded = []
    load = ImageFile.ImageFile.load
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: (decoded.append(image.filename), load(image))[1])
    with pytest.raises(DatasetError) as caught:
        check_pictures(open_pictures(tmp_path), Protocol())
    assert [Path(problem.split(":")[0]).name for problem in caught.value.problems] == names
    assert all("\n" not in problem for problem in caught.value.problems)
    assert {Path(name).name for name in decoded} == {"truncated.png"}


def test_pictures_are_read_as_they_are_stored(tmp_path):
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (40, 30)).save(tmp_path / "turned.jpg", exif=turned)
    assert Picture("turned", tmp_path / "turned.jpg").read().shape == (30, 40, 3)
    deep = np.linspace(0, 65535, 1200, dtype=np.uint16).reshape(30, 40)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.testing.assert_allclose(Picture("deep", tmp_path / "deep.png").read()[..., 0], deep / 257, atol=0.51)
