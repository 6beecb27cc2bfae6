import json
import os
import struct
import threading
import zipfile
import zlib
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageFile

from evaluation.table1.hpatches import download_hpatches
from evaluation.table1.pairs import Protocol, check_pictures, make_pairs, reference_crop, write_pairs
from evaluation.table1.pictures import Picture, described, hpatches_sequences, open_pictures
from evaluation.table1.warps import KINDS
from rotationbench.errors import ConfigError, DatasetError


def save_picture(path: Path, size: tuple[int, int] = (160, 200), seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
    return path


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


def test_a_picture_has_its_pairs_of_each_kind(tmp_path):
    picture = Picture("p", save_picture(tmp_path / "p.png", (300, 400)))
    protocol = Protocol(warps_per_image=2)
    image = picture.read()
    crop = reference_crop(image, protocol)
    pairs = list(make_pairs(image, crop, protocol, picture="p"))
    assert [(pair.warp.kind, pair.repetition) for pair in pairs] == [(kind, r) for kind in KINDS for r in range(2)]
    assert all(pair.image.shape == (*crop.size, 3) for pair in pairs)


def test_pairs_can_be_looked_at(tmp_path):
    picture = Picture("p", save_picture(tmp_path / "p.png", (300, 400)))
    write_pairs(tmp_path / "out", picture, Protocol(warps_per_image=1))
    left, top, width, height = json.loads((tmp_path / "out/p/warps.json").read_text())["crop"]
    reference = np.asarray(Image.open(tmp_path / "out/p/reference.png"))
    np.testing.assert_array_equal(reference, picture.read()[top : top + height, left : left + width])
    for kind in KINDS:
        assert Image.open(tmp_path / f"out/p/{kind}-0.png").size == (width, height)


@pytest.mark.parametrize(
    "change",
    [{"warps_per_image": 0}, {"warps_per_image": 10**9}, {"crop": (20, 640)}, {"crop": (480,)}, {"crop": (10**6, 480)}],
)
def test_impossible_protocols_are_refused(change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        Protocol(**change)


class ArchiveHandler(BaseHTTPRequestHandler):
    """Serves one file with byte ranges; cuts the first answer short when told to."""

    def __init__(self, *args, served: dict, **kwargs):
        self.served = served
        super().__init__(*args, **kwargs)

    def do_GET(self):
        content: bytes = self.served["content"]
        wanted = self.headers.get("Range")
        self.served["ranges"].append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = self.served.pop("cut", len(content))
        self.wfile.write(content[start:end])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    served = {"content": b"", "ranges": []}
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(ArchiveHandler, served=served)) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        served["url"] = f"http://127.0.0.1:{http.server_port}/archive.zip"
        yield served
        http.shutdown()


def archive(tmp_path: Path, sequences: int) -> bytes:
    path = tmp_path / "made.zip"
    picture = save_picture(tmp_path / "any.ppm", (16, 16)).read_bytes()
    with zipfile.ZipFile(path, "w") as opened:
        for index in range(sequences):
            for number in (1, 2):
                opened.writestr(f"hpatches-sequences-release/i_{index:02d}/{number}.ppm", picture)
        opened.writestr("hpatches-sequences-release/v_wall/1.ppm", picture)
    return path.read_bytes()


def test_the_archive_is_fetched_and_unpacked_once(tmp_path, server):
    server["content"] = archive(tmp_path, 57)
    root = tmp_path / "hpatches"
    download_hpatches(root, server["url"])
    assert len(hpatches_sequences(root)) == 57
    assert sorted(path.name for path in root.iterdir()) == [f"i_{index:02d}" for index in range(57)]
    download_hpatches(root, server["url"])
    assert server["ranges"] == [None]


def test_an_interrupted_download_goes_on_where_it_stopped(tmp_path, server):
    server["content"] = archive(tmp_path, 57)
    server["cut"] = 5000
    with pytest.raises(DatasetError, match="5000 of"):
        download_hpatches(tmp_path / "hpatches", server["url"])
    download_hpatches(tmp_path / "hpatches", server["url"])
    assert server["ranges"] == [None, "bytes=5000-"]
    assert len(hpatches_sequences(tmp_path / "hpatches")) == 57


def test_a_sequence_left_without_its_picture_is_fetched_again(tmp_path, server):
    root = tmp_path / "hpatches"
    server["content"] = archive(tmp_path, 57)
    download_hpatches(root, server["url"])
    (root / "i_03/1.ppm").unlink()
    download_hpatches(root, server["url"])
    assert len(hpatches_sequences(root)) == 57


def test_an_archive_with_other_sequences_is_refused(tmp_path, server):
    server["content"] = archive(tmp_path, 56)
    with pytest.raises(DatasetError, match=r"expected 57 .* got 56"):
        download_hpatches(tmp_path / "hpatches", server["url"])
    assert not list((tmp_path / "hpatches").iterdir())


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_a_damaged_archive_is_refused_and_removed(tmp_path, server, damage):
    content = bytearray(archive(tmp_path, 57))
    if damage == "truncated":
        content = content[: len(content) // 2]
    else:
        content[200] ^= 0xFF
    server["content"] = bytes(content)
    with pytest.raises(DatasetError, match="zip"):
        download_hpatches(tmp_path / "hpatches", server["url"])
    assert not list((tmp_path / "hpatches").glob("*.part"))


def test_without_a_network_the_message_says_what_to_do(tmp_path):
    with pytest.raises(DatasetError, match=r"could not be fetched .* data\.root="):
        download_hpatches(tmp_path / "hpatches", "http://127.0.0.1:9/archive.zip")
