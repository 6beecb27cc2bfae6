import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from written_samples import problems, turned_sample

from rotationbench.datasets import index, validate, write_sample
from rotationbench.points import ImagePoints


@pytest.fixture
def root(tmp_path):
    for name, split in (("cup", "real"), ("spoon", "generated")):
        write_sample(tmp_path / "data" / name, turned_sample(name, split))
    return tmp_path / "data"


def test_good_samples_have_no_problems(root, capsys):
    assert problems(root) == []
    assert validate.main([str(root)]) == 0
    printed = capsys.readouterr().out
    assert "2 samples (rotationbench)" in printed
    assert "generated 1, real 1" in printed
    assert "No problems." in printed


def test_one_sample_folder_can_be_checked(root):
    assert validate.main([str(root / "cup")]) == 0


def test_the_command_lists_every_problem_and_fails(root):
    (root / "cup" / "image.png").write_bytes(b"")
    (root / "spoon" / "config.json").write_text("{}")
    command = [sys.executable, "-m", "rotationbench.datasets.validate", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert str(root / "cup" / "image.png") in done.stdout
    assert str(root / "spoon" / "config.json") in done.stdout
    assert "3 problems in the data" in done.stdout


@pytest.mark.parametrize("arguments", [["nowhere"], [".", "--format", "zip"]])
def test_bad_arguments_fail(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert validate.main(arguments) == 1
    assert "expected" in capsys.readouterr().out


def test_targets_must_lie_where_the_turn_leads(root):
    sample = turned_sample()
    write_sample(root / "cup", replace(sample, targets=ImagePoints.of([(40, 20), (40, 30)])))
    (problem,) = problems(root)
    assert problem == f"{root / 'cup'}: expected a target near (40, 40), where pivot and angle lead, got (40, 20)."


def test_the_pivot_pair_must_be_the_stated_pivot(root):
    sample = turned_sample()
    points = ImagePoints.of([(50, 30), (30, 30)])
    write_sample(root / "cup", replace(sample, sources=points, targets=ImagePoints.of([(40, 40), (30, 30)])))
    assert any("expected the pivot pair at the stated pivot (40, 30), got (30, 30)" in text for text in problems(root))


def test_the_exact_result_equals_the_picture_outside_the_mask(root):
    sample = turned_sample()
    write_sample(root / "cup", replace(sample, target=255 - sample.image))
    assert "equals the picture outside the mask, got" in problems(root)[0]


def test_object_masks_hold_something(root):
    sample = turned_sample()
    empty = np.zeros((64, 80), bool)
    write_sample(root / "cup", replace(sample, meta=replace(sample.meta, object_mask_target=empty)))
    assert problems(root) == [f"{root / 'cup'}: expected something in object_mask_target, got an empty mask."]


def test_a_changed_a_missing_and_an_extra_file_are_noticed(root):
    index.main([str(root)])
    Image.new("L", (80, 64), 255).save(root / "cup" / "mask.png")
    (root / "cup" / "target.png").unlink()
    (root / "notes.txt").write_text("")
    found = "\n".join(problems(root))
    assert f"{root / 'index.csv'}: expected the index of these samples" in found
    assert f"{root / 'cup' / 'mask.png'}: expected SHA-256" in found
    assert f"{root / 'cup' / 'target.png'}: expected a file, because SHA256SUMS lists it" in found
    assert f"{root / 'notes.txt'}: expected a line in SHA256SUMS" in found


@pytest.mark.parametrize("subset", ["quick", "demo"])
def test_lists_of_subsets_name_samples(root, subset):
    (root / f"{subset}.txt").write_text("cup\nfork\n")
    assert "'fork', which is none" in problems(root)[0]
