from __future__ import annotations

import pandas as pd
import pytest
from edits_on_disk import save_edit
from tests_helpers import GOLDEN

from benchmarks.rotation_bank import changes, compare, main, mean_changes, savings
from rotationbench.files import write_json
from rotationbench.results import ResultStore, read_edit


def test_changes_compare_paths_pictures_and_shared_values(tmp_path):
    one = save_edit(tmp_path, "one", "a", path=[[[0, 0]], [[3, 4]]], grey=10, final_distances=[2.0])
    other = save_edit(tmp_path, "other", "a", path=[[[0, 0]], [[0, 0]], [[6, 8]]], grey=13, final_distances=[5.0])
    for edit, values in ((one, {"lpips": 0.5, "psnr": "inf", "ssim": None}), (other, {"lpips": 0.25, "psnr": 3.0})):
        metrics = {name: {"value": value, "measured_by": ""} for name, value in values.items()}
        write_json(edit.folder / "metrics.json", {"schema": 1, "edited": "", "sample": "", "metrics": metrics})
    one, other = read_edit(one.folder), read_edit(other.folder)
    found = changes(one, other)
    # The shorter path waits at (3, 4): apart by 0, 5 and 5.
    assert found["path, mean [px]"] == pytest.approx(10 / 3)
    assert found["path, farthest [px]"] == pytest.approx(5.0)
    assert found["picture [of 255]"] == pytest.approx(3.0)
    assert found["final distance [px]"] == pytest.approx(3.0)
    assert found["lpips"] == 0.25
    assert "psnr" not in found and "ssim" not in found
    assert not any(changes(one, one).values())


def test_banks_are_compared_with_the_exact_method_and_seeds_with_each_other(tmp_path):
    for label in ("exact", "exact-seed1", "bank-3", "bank-3-seed1"):
        save_edit(tmp_path, label, "a", grey=10 * (label == "exact-seed1"))
    lines = compare(ResultStore(tmp_path), savings([3.0]), seeds=[0, 1])
    assert list(lines["compared"]) == ["seeds", "bank of 3°", "bank of 3°"]
    assert list(lines["picture [of 255]"]) == [10.0, 0.0, 10.0]
    assert list(lines["evaluations"][1:]) == [1.0, 1.0]


def test_the_table_averages_over_samples():
    lines = pd.DataFrame(
        [
            {"sample": "a", "compared": "seeds", "x": 1.0},
            {"sample": "b", "compared": "seeds", "x": 3.0},
            {"sample": "a", "compared": "bank of 3°", "x": 0.5, "evaluations": 0.25},
        ]
    )
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in mean_changes(lines).splitlines()]
    assert cells[0] == ["mean change", "seeds", "bank of 3°"]
    assert cells[2:] == [["x", "2", "0.5"], ["evaluations", "", "0.25"]]


def test_a_bank_as_fine_as_the_angles_changes_nothing_but_the_cost(tmp_path):
    small = ["model.num_inference_steps=4", "method.max_steps=2", "method.lora=null", "metrics=none", "device=cpu"]
    folders = ["model=local", f"model.pretrained={GOLDEN / 'tinyA'}", "data=folder", f"data.root={GOLDEN / 'cases'}"]
    options = ["--spacings", "0.5", "--seeds", "0", "1", "--out", str(tmp_path), "--"]
    assert main([*options, *folders, *small, "samples=[rocket]"]) == 0
    lines = pd.read_csv(tmp_path / "rotation_bank.csv")
    assert list(lines["compared"]) == ["seeds", "bank of 0.5°", "bank of 0.5°"]
    banks = lines[1:]
    # In two steps no handle turns by more than the angle below which rotated pictures are not looked at.
    assert (banks["path, farthest [px]"] == 0).all()
    assert (banks["picture [of 255]"] == 0).all()
    assert (banks["evaluations"] > 1).all()
    assert "farthest" in (tmp_path / "rotation_bank.md").read_text(encoding="utf-8")


def test_an_inversion_in_as_many_evaluations_changes_nothing(tmp_path):
    small = ["model.num_inference_steps=4", "method.max_steps=2", "method.lora=null", "metrics=none", "device=cpu"]
    folders = ["model=local", f"model.pretrained={GOLDEN / 'tinyA'}", "data=folder", f"data.root={GOLDEN / 'cases'}"]
    options = ["--spacings", "--inversion-steps", "3", "--seeds", "0", "--out", str(tmp_path), "--"]
    assert main([*options, *folders, *small, "method.min_angle=0", "samples=[rocket]"]) == 0
    (line,) = pd.read_csv(tmp_path / "rotation_bank.csv").to_dict("records")
    assert line["compared"] == "inverted in 3"
    # A quarter less than four steps is the whole inversion.
    assert line["picture [of 255]"] == 0 and line["evaluations"] == 1
