import json
import shutil

import pytest
from field_examples import FORMATS, expectations, opened, whole

from rotationbench.datasets import open_dataset
from rotationbench.errors import DatasetError


@pytest.mark.parametrize("key", ["1-0-0", "1-0-1", "1-0-2", "1-0-3"])
def test_edits_of_geobench(key):
    expected = expectations("geobench")[key]
    sample = opened("geobench")[key]
    extra = {"kind": expected["kind"], "label": expected["label"], "edit_param": expected["edit_param"]}
    assert sample.meta.extra == extra
    assert sample.meta.object_mask.sum() == expected["object_mask_pixels"]
    assert sample.meta.object_mask_target.sum() == expected["object_mask_target_pixels"]
    assert sample.reference.mean() == pytest.approx(expected["coarse_mean"], abs=1e-5)
    if "derived_pair" in expected:
        assert [whole(sample.sources)[0], whole(sample.targets)[0]] == expected["derived_pair"]
    if expected.get("derived_target_in_target_mask"):
        (x, y) = whole(sample.targets)[0]
        assert sample.meta.object_mask_target[y, x]


def annotations(tmp_path, change):
    shutil.copytree(FORMATS / "geobench" / "GeoBenchMeta", tmp_path / "geo")
    path = tmp_path / "geo" / "annotations_2d.json"
    content = json.loads(path.read_text())
    change(content["1"]["instances"]["0"]["0"])
    path.write_text(json.dumps(content))
    return tmp_path / "geo"


def test_paths_of_the_machine_that_wrote_the_listing(tmp_path):
    def absolute(edit):
        for key in ("ori_img_path", "ori_mask_path", "tgt_mask_path", "coarse_input_path"):
            edit[key] = f"/data/someone/{edit[key]}"

    root = annotations(tmp_path, absolute)
    assert open_dataset(root)["1-0-0"].digest == opened("geobench")["1-0-0"].digest
    (root / "annotations_2d.json").rename(root / "annotation_2d.json")
    assert len(open_dataset(root)) == 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"edit_param": [1, 0, 0, 0, 0, 30, 1, 1, 1]}, "one move, turn within ±360° or change of size"),
        ({"edit_param": [0, 0, 0, 0, 0, 0, 1, 1, 1]}, "one move, turn within ±360° or change of size"),
        ({"edit_param": [0, 0, 0, 10, 0, 0, 1, 1, 1]}, "one move, turn within ±360° or change of size"),
        ({"edit_param": [0, 0, 1e300, 0, 0, 0, 1, 1, 1]}, "numbers [dx, dy, dz"),
        ({"edit_param": "turn"}, "numbers [dx, dy, dz"),
        ({"ori_img_path": "../../../../etc/passwd"}, "the name of a file below"),
        ({"ori_img_path": "/etc/passwd"}, "the name of a file below"),
        ({"ori_mask_path": "Geo-Bench-2D/none.png"}, "expected a picture, found no file (sample 1-0-0)"),
        ({"edit_prompt": None}, 'a string as "edit_prompt"'),
    ],
)
def test_edits_that_cannot_be_used(tmp_path, changes, words):
    with pytest.raises(DatasetError) as caught:
        open_dataset(annotations(tmp_path, lambda edit: edit.update(changes)))
    (problem,) = caught.value.problems
    assert words in problem and "(sample 1-0-0)" in problem
