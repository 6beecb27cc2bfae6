import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from rotationbench.datasets import open_dataset, write_sample
from rotationbench.errors import ConfigError, DatasetError
from rotationbench.points import ImagePoints
from rotationbench.sample import DragSample, SampleMeta


def sample(name="cup", **changes):
    rng = np.random.default_rng(0)
    mask = np.zeros((48, 64), bool)
    mask[10:40, 8:50] = True
    values = {
        "image": rng.integers(0, 256, (48, 64, 3), np.uint8),
        "prompt": "a cup",
        "sources": ImagePoints.of([(20, 20), (30, 30)]),
        "targets": ImagePoints.of([(25, 18), (30, 30)]),
        "mask": mask,
    }
    return DragSample(name, **(values | changes))


def write_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def root(tmp_path):
    for name in ("cup", "spoon"):
        write_sample(tmp_path / name, sample(name))
    return tmp_path


def problems_of(root, **options):
    with pytest.raises(DatasetError) as caught:
        open_dataset(root, **options)
    return caught.value.problems


def the_problem(root, **options):
    (problem,) = problems_of(root, **options)
    return problem


# --- smoke


def test_written_samples_are_read_back_equal(tmp_path):
    written = sample(
        target=np.full((48, 64, 3), 7, np.uint8),
        pix_step=160,
        meta=SampleMeta(
            split="generated",
            category="utensil",
            licence="CC0-1.0",
            source="a package",
            pivot=(30.0, 30.5),
            angle=-25.5,
            difficulty="easy",
            object_mask=np.eye(48, 64, dtype=bool),
            object_mask_target=np.eye(48, 64, k=3, dtype=bool),
            extra={"kind": "whole", "layers": [1, 2]},
        ),
    )
    write_sample(tmp_path / "cup", written)
    read = open_dataset(tmp_path)["cup"]
    assert read.digest == written.digest
    assert (read.target == written.target).all()
    assert read.pix_step == 160
    for key in ("split", "category", "licence", "source", "pivot", "angle", "difficulty", "extra"):
        assert getattr(read.meta, key) == getattr(written.meta, key)
    assert (read.meta.object_mask == written.meta.object_mask).all()
    assert (read.meta.object_mask_target == written.meta.object_mask_target).all()


def test_writing_again_leaves_nothing_of_the_sample_before(tmp_path):
    meta = SampleMeta(category="cup", object_mask=np.ones((48, 64), bool))
    write_sample(tmp_path / "cup", sample(target=np.zeros((48, 64, 3), np.uint8), meta=meta))
    write_sample(tmp_path / "cup", sample(mask=None))
    assert sorted(path.name for path in (tmp_path / "cup").iterdir()) == ["config.json", "image.png"]
    assert open_dataset(tmp_path)["cup"].mask is None


def test_a_data_set_is_a_sequence_by_name_and_position(root):
    dataset = open_dataset(root)
    assert dataset.names == ["cup", "spoon"]
    assert len(dataset) == 2
    assert dataset["spoon"].name == dataset[1].name == dataset[-1].name == "spoon"
    assert [item.name for item in dataset] == dataset.names
    assert [item.name for item in dataset[:1]] == ["cup"]
    with pytest.raises(IndexError):
        dataset[2]
    with pytest.raises(DatasetError, match=r"one of cup, spoon, got 'fork'"):
        dataset["fork"]


def test_samples_are_read_when_they_are_asked_for(root):
    dataset = open_dataset(root)
    Image.new("RGB", (64, 48), (1, 2, 3)).save(root / "cup" / "image.png")
    assert (dataset["cup"].image == (1, 2, 3)).all()


def test_one_sample_folder_is_a_data_set(root, monkeypatch):
    assert open_dataset(root / "cup").names == ["cup"]
    monkeypatch.chdir(root / "cup")
    assert open_dataset(".").names == ["cup"]


def test_nested_folders_and_equal_names(tmp_path):
    for folder in ("a/cup", "b/cup", "b/spoon", ".hidden/cup"):
        write_sample(tmp_path / folder, sample())
    assert open_dataset(tmp_path).names == ["a-cup", "b-cup", "spoon"]


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


# --- choosing


def test_unknown_choices_are_configuration_errors(root):
    for option in ("format", "split", "subset"):
        with pytest.raises(ConfigError, match=rf"data\.{option}: expected one of .*, got 'x'"):
            open_dataset(root, **{option: "x"})


def test_missing_folder_and_file_for_folder(tmp_path):
    assert the_problem(tmp_path / "none").endswith("expected a folder, found nothing.")
    (tmp_path / "file").write_text("")
    assert the_problem(tmp_path / "file").endswith("expected a folder, found a file.")


def test_splits(root):
    assert "expected samples of the split 'real', got none that names a split" in the_problem(root, split="real")
    for name, split in (("cup", "real"), ("spoon", "generated")):
        (root / name / "meta.json").write_text(json.dumps({"split": split}))
    assert open_dataset(root, split="real").names == ["cup"]
    assert open_dataset(root, split="generated").names == ["spoon"]
    assert open_dataset(root, split="all").names == ["cup", "spoon"]


def test_objects_that_were_trained_on_are_no_part_of_the_benchmark(root):
    for name, split in (("cup", "real"), ("spoon", "in_domain")):
        (root / name / "meta.json").write_text(json.dumps({"split": split}))
    assert open_dataset(root).names == open_dataset(root, split="all").names == ["cup"]
    assert open_dataset(root, split="in_domain").names == ["spoon"]
    assert open_dataset(root, split="any").names == ["cup", "spoon"]
    assert open_dataset(root / "spoon")[0].meta.split == "in_domain"
    (root / "demo.txt").write_text("spoon\ncup\n")
    assert open_dataset(root, subset="demo").names == ["spoon", "cup"]
    assert open_dataset(root, split="in_domain", subset="demo").names == ["spoon"]


def test_only_chosen_samples_are_checked(root):
    for name, split in (("cup", "real"), ("spoon", "generated")):
        (root / name / "meta.json").write_text(json.dumps({"split": split}))
    write_config(root / "cup", prompt=None)
    assert open_dataset(root, split="generated").names == ["spoon"]
    assert problems_of(root)


def test_the_quick_subset_is_a_list(root):
    assert the_problem(root, subset="quick") == f"{root / 'quick.txt'}: expected a file, found none."
    (root / "quick.txt").write_text("# first\nspoon\n\n")
    assert open_dataset(root, subset="quick").names == ["spoon"]
    (root / "quick.txt").write_text("spoon\nfork\n")
    assert "expected names of samples, got 'fork', which is none" in the_problem(root, subset="quick")


def test_an_empty_folder_says_what_was_looked_for(tmp_path):
    problem = the_problem(tmp_path)
    for sign in ("config.json", "meta_data.pkl", "prompt.json", "points.json", "metadata.jsonl"):
        assert sign in problem
    assert "folders with config.json and image.png (rotationbench)" in the_problem(tmp_path, format="rotationbench")


def test_unchecked_opening_defers_problems_to_the_sample(root):
    write_config(root / "cup", point=[])
    dataset = open_dataset(root, check=False)
    assert dataset["spoon"].prompt == "a cup"
    with pytest.raises(DatasetError, match="at least one pair"):
        dataset["cup"]
    assert len(dataset.problems()) == 1
