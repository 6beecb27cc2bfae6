"""Kinds of fault in files that a reader must read or refuse by name: nothing is dropped, nothing crashes later."""

import io
import json
import logging
import os
import struct
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from rotationbench.datasets import open_dataset, validate, write_sample
from rotationbench.datasets.reading import LONGEST_PROMPT_BYTES
from rotationbench.errors import DatasetError
from rotationbench.points import ImagePoints
from rotationbench.sample import DragSample, Region, Regions, SampleMeta

SIZE = (48, 64)


def half():
    mask = np.zeros(SIZE, bool)
    mask[:, :32] = True
    return mask


def sample(**changes):
    values = {
        "image": np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8),
        "prompt": "a cup",
        "sources": ImagePoints.of([(20, 20)]),
        "targets": ImagePoints.of([(25, 18)]),
        "mask": half(),
    }
    return DragSample("cup", **(values | changes))


@pytest.fixture
def root(tmp_path):
    write_sample(tmp_path / "data" / "cup", sample())
    return tmp_path / "data"


def problems_of(root):
    """The reader's problems, which are `validate`'s too."""
    with pytest.raises(DatasetError) as caught:
        open_dataset(root)
    assert set(caught.value.problems) <= set(validate.problems_of(root)[1])
    for problem in caught.value.problems:
        assert problem.isprintable() and len(problem) < 1000
    return caught.value.problems


def the_problem(root):
    (problem,) = problems_of(root)
    return problem


def listing(root, *lines):
    root.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE[::-1]).save(root / "a.png")
    (root / "metadata.jsonl").write_text("\n".join(json.dumps({"point": [[1, 2], [3, 4]]} | line) for line in lines))


# --- kind 2: names become paths


@pytest.mark.parametrize("name", ["..png", "...png", ".hidden.png", "a\n.png", "x" * 201 + ".png"])
def test_kind_2_names_that_are_no_plain_path_component(tmp_path, name):
    listing(tmp_path, {"file_name": "a.png"}, {"file_name": name})
    Image.new("RGB", SIZE[::-1]).save(tmp_path / name, "PNG")
    assert "(the sample's name)" in the_problem(tmp_path)


def test_kind_2_names_that_differ_in_capitals_only(tmp_path):
    listing(tmp_path, {"file_name": "a.png"}, {"file_name": "A.png"})
    Image.new("RGB", SIZE[::-1]).save(tmp_path / "A.png")
    assert "expected a name of its own, got 'A' beside 'a'" in the_problem(tmp_path)


def test_kind_2_equal_names_get_their_folders_in_front(tmp_path):
    for folder in ("train", "test"):
        listing(tmp_path / folder, {"file_name": "a.png"})
    assert open_dataset(tmp_path).names == ["test-a", "train-a"]


def test_kind_2_a_folder_whose_name_is_no_text(tmp_path):
    folder = tmp_path / os.fsdecode(b"bad\xff")
    write_sample(folder, sample())
    problem = the_problem(tmp_path)
    assert "bad\\udcff" in problem
    assert problem.encode()


# --- kind 12: dropped in silence

OPTIONAL = ("mask.png", "target.png", "reference.png", "meta.json", "regions.json")


@pytest.mark.parametrize("name", OPTIONAL)
def test_kind_12_a_folder_in_the_place_of_a_file(root, name):
    (root / "cup" / name).unlink(missing_ok=True)
    (root / "cup" / name).mkdir()
    assert f"cup/{name}: expected a" in the_problem(root)
    assert "a folder" in the_problem(root)


@pytest.mark.parametrize("name", OPTIONAL)
def test_kind_12_a_link_to_nowhere(root, name):
    (root / "cup" / name).unlink(missing_ok=True)
    (root / "cup" / name).symlink_to("nowhere")
    assert f"cup/{name}: expected a" in the_problem(root)
    assert "a link to nowhere" in the_problem(root)


@pytest.mark.parametrize("name", OPTIONAL)
def test_kind_12_what_is_no_plain_file_does_not_hang(root, name):
    (root / "cup" / name).unlink(missing_ok=True)
    os.mkfifo(root / "cup" / name)
    assert "something that is no plain file" in the_problem(root)


@pytest.mark.parametrize("name", ["mask.jpg", "mask.PNG", "Mask.png", "mask.jpeg", "mask.webp", "mask.bmp", "MASK.JPG"])
def test_kind_12_masks_by_other_names_are_read(root, name):
    (root / "cup" / "mask.png").unlink()
    Image.fromarray(half().astype(np.uint8) * 255).save(root / "cup" / name)
    assert (open_dataset(root)[0].mask == half()).mean() > 0.99


@pytest.mark.parametrize("name", ["mask.npy", "mask.gif", "mask.ico"])
def test_kind_12_masks_that_cannot_be_read_are_refused(root, name):
    (root / "cup" / "mask.png").unlink()
    (root / "cup" / name).write_bytes(b"GIF89a")
    assert f"{name}: expected a picture" in the_problem(root)


@pytest.mark.parametrize("name", ["Meta.json", "META.JSON"])
def test_kind_12_metadata_by_another_name_is_read(root, name):
    (root / "cup" / name).write_text('{"category": "cup"}')
    assert open_dataset(root)[0].meta.category == "cup"


@pytest.mark.parametrize("name", ["image.jpg", "mask.jpg", "Mask.PNG", "Meta.json"])
def test_kind_12_two_files_for_one_are_refused(root, name):
    (root / "cup" / "meta.json").write_text("{}")
    Image.new("RGB", SIZE[::-1]).save(root / "cup" / name, "PNG")
    assert "expected one file as" in the_problem(root)


@pytest.mark.parametrize("level", [1, 200, 127 * 257])
def test_kind_12_dark_sixteen_bit_masks_are_refused(root, level):
    Image.fromarray(half().astype(np.uint16) * level).save(root / "cup" / "mask.png")
    assert f"a mask of 0 and 255, got values of at most {level} of 65535" in the_problem(root)


def test_kind_12_a_black_mask_is_none_and_says_so_once(root, caplog):
    Image.new("L", SIZE[::-1]).save(root / "cup" / "mask.png")
    with caplog.at_level(logging.WARNING):
        dataset = open_dataset(root)
        assert dataset[0].mask is None
    assert len(caplog.records) == 1
    assert "none was drawn; the whole picture may change" in caplog.text


@pytest.mark.parametrize("name", ["meta_data.pkl", "points.json", "prompt.json", "instruction.json", "config.json"])
@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.symlink_to("nowhere")])
def test_kind_12_samples_whose_listing_is_no_file_are_not_passed_over(tmp_path, name, make):
    (tmp_path / "s").mkdir()
    make(tmp_path / "s" / name)
    assert any(f"s/{name}: expected a file, found a" in problem for problem in problems_of(tmp_path))


# --- kind 13: corrections are seen


def test_kind_13_what_is_stored_has_the_full_digest_of_what_was_read(tmp_path):
    meta = SampleMeta("real", "cup", "CC0-1.0", "me", (3.5, 4), -20, "easy", half(), half(), {"note": [1, 2.5]}, True)
    part = Region(half(), "rotation", (1, 2), (3, 4), (5, 6), 30, (0,))
    regions = Regions(half(), ~half(), (ImagePoints.of([(8, 8)]), ImagePoints.of([(16, 8)])), (8, 8), (part,))
    picture = np.full((*SIZE, 3), 9, np.uint8)
    whole = sample(meta=meta, regions=regions, target=picture, reference=picture, edit_prompt="turn", pix_step=3)
    write_sample(tmp_path / "cup", whole)
    read = open_dataset(tmp_path)[0]
    assert (read.digest, read.full_digest) == (whole.digest, whole.full_digest)
    bare = sample()
    write_sample(tmp_path / "cup", bare)
    assert open_dataset(tmp_path)[0].full_digest == bare.full_digest
    assert sorted(path.name for path in (tmp_path / "cup").iterdir()) == ["config.json", "image.png", "mask.png"]
    assert replace(bare, meta=SampleMeta(angle=5)).full_digest != bare.full_digest


# --- kinds 16 and 27: numbers and texts from files


@pytest.mark.parametrize(
    "number", ["1e20", "-361", "NaN", "Infinity", "1e999", "1" + "0" * 400, "1" + "0" * 5000, "true"]
)
def test_kind_16_angles_are_in_range(root, number):
    (root / "cup" / "meta.json").write_text(f'{{"angle": {number}}}')
    assert "cup/meta.json: expected" in the_problem(root)


@pytest.mark.parametrize("number", ["1e300", "NaN", "-Infinity", "1" + "0" * 400, "100001", '"1"'])
def test_kind_16_pivots_are_in_range(root, number):
    (root / "cup" / "meta.json").write_text(f'{{"pivot": [1, {number}]}}')
    assert "cup/meta.json: expected two finite numbers" in the_problem(root)


@pytest.mark.parametrize("number", ["1e300", "NaN", "-Infinity", "1" + "0" * 400, "1" + "0" * 5000])
def test_kind_16_points_and_step_limits_are_in_range(root, number):
    for text in (f'"point": [[1, {number}], [3, 4]]', f'"point": [[1, 2], [3, 4]], "pix_step": {number}'):
        (root / "cup" / "config.json").write_text(f'{{"prompt": "", {text}}}')
        assert "cup/config.json: expected" in the_problem(root)


@pytest.mark.parametrize(
    "text",
    [
        '{"score": NaN}',
        '{"a": [1, {"b": -Infinity}]}',
        '{"a": 1' + "0" * 30 + "}",
        '{"a": "\\ud800"}',
        '{"\\udc00": 1}',
        '{"a": "\\u0000"}',
        '{"a": ' + "[" * 20 + "]" * 20 + "}",
        '{"category": "\\ud800"}',
        '{"category": "a\\u0000"}',
        '{"licence": "' + "x" * 1001 + '"}',
        '{"object_mask": "a\\u0000b"}',
        '{"object_mask": "' + "x" * 5000 + '"}',
    ],
)
def test_kind_27_metadata_that_could_not_be_written_again(root, text):
    (root / "cup" / "meta.json").write_text(text)
    assert "cup/meta.json: expected" in the_problem(root)


@pytest.mark.parametrize("prompt", ["\\ud800", "a\\u0000b", "x" * (LONGEST_PROMPT_BYTES + 1), "ü" * 5001])
def test_kind_33_prompts_have_a_bound(root, prompt):
    (root / "cup" / "config.json").write_text(f'{{"point": [[1, 2], [3, 4]], "prompt": "{prompt}"}}')
    assert 'as "prompt"' in the_problem(root)
    (root / "cup" / "config.json").write_text(json.dumps({"point": [[1, 2], [3, 4]], "prompt": "x" * 2_000_000}))
    assert "at most 1048576 bytes" in the_problem(root)


@pytest.mark.parametrize("name", ["index.csv", "SHA256SUMS", "quick.txt", "demo.txt"])
@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"garbage line without two spaces\n", None])
def test_kind_27_garbage_listings_are_problems_of_their_files(root, name, content):
    if content is None:
        (root / name).mkdir()
    else:
        (root / name).write_bytes(content)
    found = validate.problems_of(root)[1]
    assert any(problem.startswith(f"{root / name}: expected") for problem in found)


@pytest.mark.parametrize("shape", [(48, 64, 0), (0, 0), (48,), (48, 64, 1, 1)])
def test_kind_27_arrays_that_are_no_mask(tmp_path, shape):
    import pickle

    (tmp_path / "s").mkdir()
    Image.new("RGB", SIZE[::-1]).save(tmp_path / "s" / "original_image.png")
    content = {"prompt": "", "points": [[1, 2], [3, 4]], "mask": np.ones(shape, np.uint8)}
    (tmp_path / "s" / "meta_data.pkl").write_bytes(pickle.dumps(content))
    assert "a numeric array (H, W)" in the_problem(tmp_path)
    content["mask"] = np.full(SIZE, np.nan)
    (tmp_path / "s" / "meta_data.pkl").write_bytes(pickle.dumps(content))
    assert 'finite numbers as "mask"' in the_problem(tmp_path)


# --- kind 19: links


def test_kind_19_a_loop_of_links_does_not_multiply_samples(root):
    (root / "again").symlink_to(".")
    (root / "a").symlink_to("cup")
    (root / "other").mkdir()
    (root / "other" / "back").symlink_to("..")
    (root / "other" / "self").symlink_to("self")
    assert open_dataset(root).names == ["cup"]


def test_kind_19_links_to_samples_elsewhere_are_followed(root, tmp_path):
    write_sample(tmp_path / "elsewhere" / "x", sample())
    (root / "linked").symlink_to(tmp_path / "elsewhere" / "x")
    assert open_dataset(root).names == ["cup", "linked"]


# --- kind 23: pictures


def test_kind_23_no_other_program_is_started(root, monkeypatch):
    import subprocess

    def refuse(*arguments, **options):
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    (root / "cup" / "image.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n%%EndComments\nshowpage\n"
    )
    assert "expected a picture, got a file of no known picture format" in the_problem(root)


def test_kind_23_an_icon_is_not_decoded_before_its_size_is_known(root):
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48)).save(buffer, "PNG")
    png = buffer.getvalue()
    icon = struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, len(png), 22) + png
    (root / "cup" / "image.png").write_bytes(icon)
    assert "no known picture format" in the_problem(root)


# --- kind 31: lines


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85", "\x0b", "\x1c"])
def test_kind_31_lines_end_at_line_feeds_only(tmp_path, character):
    listing(tmp_path, {"file_name": "a.png"})
    text = json.dumps({"file_name": "a.png", "point": [[1, 2], [3, 4]], "prompt": "a\tb"}, ensure_ascii=False)
    # JSON forbids the control characters among them inside strings.
    text = text.replace("\\t", character) if character >= "\x20" else text + character
    (tmp_path / "metadata.jsonl").write_text(text + "\r\n\n", encoding="utf-8", newline="")
    if character >= "\x20":
        assert open_dataset(tmp_path)[0].prompt == f"a{character}b"
    else:
        assert "valid JSON in line 1" in the_problem(tmp_path)


# --- claims


def test_estimated_turns_are_not_held_against_points(root):
    meta = SampleMeta(pivot=(5.0, 5.0), angle=90.0)
    write_sample(root / "cup", sample(meta=meta))
    assert "where pivot and angle lead" in validate.problems_of(root)[1][0]
    write_sample(root / "cup", sample(meta=replace(meta, turn_estimated=True)))
    assert validate.problems_of(root)[1] == []


def test_problems_of_some_samples(root):
    write_sample(root / "spoon", sample())
    (root / "spoon" / "config.json").write_text("{}")
    dataset = open_dataset(root, check=False)
    assert dataset.problems(["cup"]) == []
    assert len(dataset.problems(["spoon"])) == len(dataset.problems()) == 2
