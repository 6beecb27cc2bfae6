"""A thousand samples in each of the field's layouts, and copies in the layouts of DragBench and Drag100."""

import json
import pickle
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rotationbench.datasets import open_dataset, validate

EXAMPLES = Path(__file__).parent / "formats"
SECONDS = 5

SAMPLES = {
    "vfd_bench": EXAMPLES / "vfd_bench" / "VFD_Bench_Dataset" / "Pexels_100001_Box_head_rotation_0",
    "red_bench": EXAMPLES / "red_bench" / "ReD_Bench" / "R1",
    "regiondrag": EXAMPLES / "regiondrag" / "drag_data" / "dragbench-sr" / "art_0",
    "inpaint4drag": EXAMPLES / "inpaint4drag" / "drag_data" / "dragbench-dr" / "animals" / "JH_2023-09-14-0001-01",
}


def multiplied(form, root, count):
    if form == "geobench":
        shutil.copytree(EXAMPLES / "geobench" / "GeoBenchMeta", root)
        content = json.loads((root / "annotations_2d.json").read_text())
        edits = list(content["1"]["instances"]["0"].values())
        content["1"]["instances"]["0"] = {str(number): edits[number % len(edits)] for number in range(count)}
        (root / "annotations_2d.json").write_text(json.dumps(content))
        return
    for number in range(count):
        shutil.copytree(SAMPLES[form], root / f"sample_{number}")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["geobench", *SAMPLES])
def test_a_thousand_samples_open_and_validate_in_seconds(tmp_path, form, capsys):
    """CPU time of this process, so that what else the machine does has no part in it."""
    multiplied(form, tmp_path / "data", 1000)
    began = time.process_time()
    dataset = open_dataset(tmp_path / "data")
    opened = time.process_time()
    assert validate.problems_of(tmp_path / "data")[1] == []
    validated = time.process_time()
    with capsys.disabled():
        print(
            f"\n{form}: 1000 samples open in {opened - began:.2f} s and validate in {validated - opened:.2f} s of CPU"
        )
    assert (dataset.form.name, len(dataset)) == (form, 1000)
    assert max(opened - began, validated - opened) < SECONDS


@pytest.mark.parametrize("form", ["geobench", *SAMPLES])
def test_every_one_of_many_samples_is_found(tmp_path, form):
    multiplied(form, tmp_path / "data", 30)
    assert len(open_dataset(tmp_path / "data")) == 30
    assert validate.problems_of(tmp_path / "data")[1] == []


HEIGHTS = (511, 512, 341, 385, 384, 509, 303, 450)
"""Most of them no multiple of 8, as in DragBench."""


def dragbench(root):
    for number, height in enumerate(HEIGHTS):
        folder = root / ("animals", "art_work")[number % 2] / f"JH_2023-09-14-18{number:02}-16"
        folder.mkdir(parents=True)
        Image.new("RGB", (512, height), (number, 99, 9)).save(folder / "original_image.png")
        Image.new("RGB", (512, height)).save(folder / "user_drag.png")
        mask = np.zeros((height, 512), np.float32 if number == 0 else np.uint8)
        mask[10:100, 10:100] = number > 0
        points = [(200, 30), (220, 30), [300, height - 1], [300, height - 1]]
        content = {"prompt": "a photo", "points": points, "mask": mask}
        (folder / "meta_data.pkl").write_bytes(pickle.dumps(content, 4))


def drag100(root):
    for number, height in enumerate(HEIGHTS):
        folder = root / f"animal_{number}"
        folder.mkdir(parents=True)
        Image.new("RGB", (512, height), (number, 99, 9)).save(folder / f"original.{('png', 'jpg')[number % 2]}")
        mask = np.zeros((height, 512), np.uint8)
        mask[10:100, 10:100] = 255 * (number > 0)
        Image.fromarray(mask).save(folder / "mask.png")
        (folder / "points.json").write_text(json.dumps({"points": [[200, 30], [220, height - 1]]}))


@pytest.mark.parametrize("write", [dragbench, drag100])
def test_copies_in_a_benchmarks_layout_are_held_to_what_they_are(tmp_path, write):
    write(tmp_path)
    dataset, problems = validate.problems_of(tmp_path)
    assert problems == []
    assert sorted(sample.size[0] for sample in dataset) == sorted(HEIGHTS)
    # The first one's mask is black: none was drawn.
    assert sum(sample.mask is None for sample in dataset) == 1
    assert {int(sample.mask.sum()) for sample in dataset if sample.mask is not None} == {90 * 90}


def test_a_point_below_the_last_row_is_not_rounded_into_the_picture(tmp_path):
    drag100(tmp_path)
    (tmp_path / "animal_0" / "points.json").write_text('{"points": [[200, 30], [220, 511]]}')
    (problem,) = validate.problems_of(tmp_path)[1]
    assert "animal_0/points.json: expected target 1 inside the picture of 512 × 511" in problem
