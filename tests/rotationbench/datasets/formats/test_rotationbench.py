import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from written_samples import problems_of, the_problem, write_config

from rotationbench.datasets import open_dataset
from rotationbench.errors import DatasetError


def test_what_the_rotationdrag_interface_saves(tmp_path):
    Image.new("RGB", (64, 48)).save(tmp_path / "image.png")
    Image.new("L", (64, 48), 255).save(tmp_path / "mask.png")
    (tmp_path / "config.json").write_text('{"point": [[5, 6], [5, 6], [9, 8], [12, 9]], "prompt": "", "pix_step": 160}')
    read = open_dataset(tmp_path)[0]
    assert read.prompt == ""
    assert read.mask.all()
    assert read.is_pivot.tolist() == [True, False]
    assert read.sources.xy.tolist() == [[5, 6], [9, 8]]
    assert read.targets.xy.tolist() == [[5, 6], [12, 9]]


# --- pictures


def test_exif_orientation_is_applied(root):
    picture = Image.fromarray(np.arange(48 * 64, dtype=np.uint32).reshape(48, 64).astype(np.uint8)).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.transpose(Image.Transpose.ROTATE_90).save(root / "cup" / "image.png", exif=exif)
    assert (open_dataset(root)["cup"].image == np.asarray(picture)).all()


def test_transparency_is_laid_over_white(root):
    rgba = np.zeros((48, 64, 4), np.uint8)
    rgba[:24] = (200, 100, 50, 255)
    Image.fromarray(rgba).save(root / "cup" / "image.png")
    image = open_dataset(root)["cup"].image
    assert (image[:24] == (200, 100, 50)).all()
    assert (image[24:] == 255).all()


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "CMYK"])
def test_other_modes_become_rgb(root, mode):
    ending = "jpg" if mode == "CMYK" else "png"
    (root / "cup" / "image.png").unlink()
    Image.new("RGB", (64, 48), (255, 255, 255)).convert(mode).save(root / "cup" / f"image.{ending}")
    image = open_dataset(root)["cup"].image
    assert image.shape == (48, 64, 3)
    assert (image >= 250).all()


def test_sixteen_bits_are_scaled(root):
    levels = np.linspace(0, 65535, 64).round().astype(np.uint16)
    Image.fromarray(np.tile(levels, (48, 1))).save(root / "cup" / "image.png")
    image = open_dataset(root)["cup"].image
    assert (image == np.round(levels / 257).astype(np.uint8)[None, :, None]).all()


def test_masks_may_be_colour_pictures(root):
    mask = np.zeros((48, 64, 3), np.uint8)
    mask[5:20] = 255
    Image.fromarray(mask).save(root / "cup" / "mask.png")
    assert (open_dataset(root)["cup"].mask == (mask[..., 0] > 0)).all()


# --- bad input


def test_all_problems_of_all_samples_are_reported_at_once(root):
    (root / "cup" / "image.png").write_bytes((root / "cup" / "image.png").read_bytes()[:600])
    write_config(root / "cup", point=[[1, 2], [3, 4], [5, 6]])
    Image.new("L", (60, 48)).save(root / "spoon" / "mask.png")
    write_config(root / "spoon", point=[[1, 2], [64, 4]], prompt=5)
    problems = problems_of(root)
    assert len(problems) == 5
    for file, words in (
        ("cup/image.png", "expected a whole picture"),
        ("cup/config.json", 'an even number of points in "point", a source and a target each, got 3'),
        ("spoon/mask.png", "expected the picture's size 64 × 48 (width × height), got 60 × 48"),
        ("spoon/config.json", "expected target 1 inside the picture of 64 × 48 (width × height), got (64, 4)"),
        ("spoon/config.json", 'expected a string as "prompt" (it may be empty), got int 5'),
    ):
        assert any(problem.startswith(f"{root / file}: ") and words in problem for problem in problems)
    assert "5 problems in the data" in str(DatasetError(problems))


@pytest.mark.parametrize(
    ("point", "words"),
    [
        ([], "at least one pair of points, got none"),
        ([[5, 5], [5, 5]], "at least one pair whose source and target differ, got pivot pairs only"),
        ([[5, 5], [-1, 5]], "target 1 inside the picture of 64 × 48 (width × height), got (-1, 5)"),
        ([[5, 48], [6, 6]], "source 1 inside the picture"),
        ([[5, "x"], [6, 6]], 'two finite numbers [x, y] as point 1 of "point", got list'),
        ([[5, 5, 5], [6, 6]], "two finite numbers"),
        ([[5, True], [6, 6]], "two finite numbers"),
        ([5, 6], "two finite numbers"),
        ("5, 6", 'a list of [x, y] points as "point", got str'),
        (None, 'a list of [x, y] points as "point", got NoneType'),
    ],
)
def test_bad_points(root, point, words):
    write_config(root / "cup", point=point)
    assert words in problems_of(root)[0]


def test_points_that_are_not_finite(root):
    (root / "cup" / "config.json").write_text('{"point": [[NaN, 5], [6, Infinity]], "prompt": ""}')
    assert len(problems_of(root)) == 2


def test_points_on_the_last_pixels_are_inside(root):
    write_config(root / "cup", point=[[0, 0], [63, 47]])
    assert open_dataset(root)["cup"].targets.xy.tolist() == [[63, 47]]


@pytest.mark.parametrize("text", ["{", "", "[1, 2]", "\xff\xfe", "[" * 100000])
def test_broken_config(root, text):
    (root / "cup" / "config.json").write_text(text, encoding="latin1")
    assert the_problem(root).startswith(str(root / "cup" / "config.json"))


def test_missing_files(root):
    (root / "cup" / "config.json").unlink()
    (root / "spoon" / "image.png").unlink()
    problems = problems_of(root)
    assert f"{root / 'cup' / 'config.json'}: expected a file, found none." in problems
    assert f"{root / 'spoon' / 'image.png'}: expected a picture, found no file." in problems


@pytest.mark.parametrize("size", [(31, 64), (64, 4097)])
def test_absurd_sizes(root, size):
    Image.new("RGB", size).save(root / "cup" / "image.png")
    assert "expected sides of 32 to 4096 pixels" in problems_of(root)[0]


def png_that_claims(width, height):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [10_000, 50_000, 2_000_000_000])
def test_a_decompression_bomb_is_not_decoded(root, side, monkeypatch):
    (root / "cup" / "image.png").write_bytes(png_that_claims(side, side))

    def load(image):
        assert max(image.size) <= 4096, "decoded"
        return original(image)

    from PIL import ImageFile

    original = ImageFile.ImageFile.load
    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    assert "cup/image.png: expected sides of" in problems_of(root)[0]


def test_what_is_no_picture(root):
    (root / "cup" / "image.png").write_text("not a picture")
    assert "expected a picture, got a file of no known picture format" in problems_of(root)[0]


def test_floating_point_pictures_are_refused(root):
    (root / "cup" / "image.png").unlink()
    Image.fromarray(np.ones((48, 64), np.float32)).save(root / "cup" / "image.webp", format="TIFF")
    assert "expected 8 or 16 bits per channel" in problems_of(root)[0]


def test_a_mask_of_zeros_and_ones(root):
    Image.fromarray(np.eye(48, 64, dtype=np.uint8)).save(root / "cup" / "mask.png")
    assert "expected a mask of 0 and 255, got values of at most 1" in the_problem(root)


@pytest.mark.parametrize("steps", [0, -1, 2.5, "many", True])
def test_bad_pix_step(root, steps):
    write_config(root / "cup", pix_step=steps)
    assert 'a positive whole number as "pix_step"' in the_problem(root)


@pytest.mark.parametrize(
    ("meta", "words"),
    [
        ({"split": "train"}, 'real, generated or in_domain as "split"'),
        ({"angle": "30"}, 'a finite number of degrees as "angle"'),
        ({"pivot": [1]}, 'two finite numbers [x, y] as "pivot"'),
        ({"category": 3}, 'a string as "category"'),
        ({"object_mask": "../../secret.png"}, "the name of a file inside"),
        ({"object_mask": "none.png"}, "expected a picture, found no file"),
        ([], "a JSON object"),
    ],
)
def test_bad_metadata(root, meta, words):
    (root / "cup" / "meta.json").write_text(json.dumps(meta))
    assert words in the_problem(root)
