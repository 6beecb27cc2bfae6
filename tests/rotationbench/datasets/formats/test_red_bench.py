import json
import logging
import shutil

import numpy as np
import pytest
from field_examples import FORMATS, count, expectations, opened
from PIL import Image

from rotationbench.datasets import open_dataset
from rotationbench.datasets.formats.red_bench import pinned, turn_about
from rotationbench.points import ImagePoints


@pytest.mark.parametrize("key", ["ReD_Bench/R1", "ReD_Bench/R2", "ReD_Bench/R3"])
def test_regions_of_red_bench(key):
    expected = expectations("red_bench")[key]
    sample = opened("red_bench")[key[-2:]]
    assert len(sample.regions.parts) == len(expected["regions"])
    for part, region in zip(sample.regions.parts, expected["regions"], strict=True):
        assert part.task == region["task"]
        assert list(part.source) == region["begin"]
        assert list(part.target) == region["target"]
        assert part.anchor == (None if region["anchor"] is None else tuple(region["anchor"]))
        assert part.mask.sum() == region["handle_pixels"]
        turn = region.get("turn_degrees_clockwise")
        assert part.angle == (None if turn is None else pytest.approx(turn, abs=1e-4))
    assert count(sample.meta.object_mask) == expected.get("object_mask_pixels")
    for side in ("sources_in_file", "targets_in_file"):
        assert sample.meta.extra.get(side) == expected.get(side)


def test_pairs_pin_an_anchor_within_five_pixels_and_two_of_each_other():
    def read(source, target, anchors):
        sources, targets = pinned((ImagePoints.of([source]), ImagePoints.of([target])), anchors)
        return (*sources.xy[0].tolist(), *targets.xy[0].tolist())

    assert read((298, 348), (298, 349), [(298, 351)]) == (298, 351, 298, 351)
    assert read((298, 346), (300, 346), [(298, 351)]) == (298, 346, 300, 346)
    assert read((298, 349), (298, 351.5), [(298, 351)]) == (298, 349, 298, 351.5)
    assert read((298, 348), (298, 349), [None]) == (298, 348, 298, 349)
    assert read((10, 10), (10, 11), [(12, 10), (10, 12), None]) in {(12, 10, 12, 10), (10, 12, 10, 12)}


def test_turns_are_wrapped_and_clockwise():
    assert turn_about((0, 0), (10, 0), (0, 10)) == pytest.approx(90)
    assert turn_about((0, 0), (-10, -1), (-10, 1)) == pytest.approx(-2 * np.rad2deg(np.arctan(0.1)))
    assert abs(turn_about((0, 0), (10, 0), (-10, 0))) == pytest.approx(180)


def test_a_handle_that_lies_in_no_region_is_left_out_with_a_warning(tmp_path, caplog):
    shutil.copytree(FORMATS / "red_bench" / "ReD_Bench" / "R1", tmp_path / "R1")
    Image.fromarray(np.eye(71, 87, dtype=np.uint8) * 255).save(tmp_path / "R1" / "operation.png")
    path = tmp_path / "R1" / "instruction.json"
    config = json.loads(path.read_text())
    config["region_operations"]["0"]["centroids"][0] = [70, 5]
    path.write_text(json.dumps(config))
    with caplog.at_level(logging.WARNING):
        sample = open_dataset(tmp_path)[0]
    assert sample.regions.parts == ()
    assert sample.meta.object_mask is None
    assert "no handle region at (70, 5)" in caplog.text
