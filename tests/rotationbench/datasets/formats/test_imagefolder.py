import json

import pytest
from format_layouts import imagefolder, picture, the_problem

from rotationbench.datasets import open_dataset
from rotationbench.errors import DatasetError


def test_imagefolder_metadata(tmp_path):
    picture(tmp_path / "train" / "a.png")
    picture(tmp_path / "train" / "b.png", 9)
    lines = [
        {"file_name": "a.png", "text": "a", "point": [[1, 2], [3, 4]], "split": "real", "pivot": [5, 6], "angle": 30},
        {"file_name": "b.png", "target_file_name": "a.png", "point": [[1, 2], [3, 4]], "category": "cup"},
    ]
    (tmp_path / "train" / "metadata.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    dataset = open_dataset(tmp_path)
    a, b = dataset
    assert (a.name, a.prompt, a.meta.split, a.meta.pivot, a.meta.angle) == ("a", "a", "real", (5.0, 6.0), 30)
    assert (b.prompt, b.meta.category, b.mask) == ("", "cup", None)
    assert (b.target == 120).all()
    assert open_dataset(tmp_path, split="real").names == ["a"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"file_name": "../../secret.png"}, "the name of a file inside"),
        ({"file_name": None}, 'as "file_name", got NoneType None'),
        ({"mask_file_name": "none.png"}, "none.png: expected a picture, found no file (sample cat)."),
        ({"point": [[1, 2]]}, "an even number of points"),
        ({"split": "test"}, 'real, generated or in_domain as "split"'),
        ({"angle": "x"}, 'a finite number of degrees as "angle"'),
        ({"pivot": [1, 2, 3]}, "two finite numbers"),
    ],
)
def test_bad_lines_of_an_imagefolder(tmp_path, changes, words):
    imagefolder(tmp_path, **changes)
    assert words in the_problem(tmp_path)


def test_broken_lines_of_an_imagefolder_are_all_named(tmp_path):
    imagefolder(tmp_path)
    (tmp_path / "metadata.jsonl").write_text("{\n[1]\n")
    with pytest.raises(DatasetError) as caught:
        open_dataset(tmp_path)
    assert len(caught.value.problems) == 2
    assert "valid JSON in line 1" in caught.value.problems[0]
    assert "a JSON object in line 2" in caught.value.problems[1]
