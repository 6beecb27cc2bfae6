from __future__ import annotations

import json

import pytest
from synthetic_results import make_sample, write_edit, write_results

from evaluation.report.collect import angle_bin, folder_names, read_folders
from rotationbench.errors import ConfigError, DatasetError


def test_seeds_come_together_under_one_method(tmp_path):
    sample = make_sample(0, 64)
    for seed in (0, 3):
        write_edit(tmp_path, sample, "idle", sample.image, seed=seed)
    (folder,) = read_folders([tmp_path])
    assert folder.table["label"].tolist() == ["idle", "idle-seed3"]
    assert folder.table["variant"].tolist() == ["idle", "idle"]


def test_one_name_for_two_samples_is_refused(tmp_path):
    write_edit(tmp_path / "a", make_sample(0, 64), "idle", make_sample(0, 64).image)
    write_edit(tmp_path / "b", make_sample(0, 64, angle=5), "idle", make_sample(0, 64).image)
    with pytest.raises(DatasetError, match="blob000: expected edits of one sample, got 2 different ones"):
        read_folders([tmp_path / "a", tmp_path / "b"])


def test_folders_are_told_apart_by_as_much_of_their_path_as_it_takes(tmp_path):
    assert folder_names([tmp_path / "x" / "results", tmp_path / "y"]) == ["results", "y"]
    assert folder_names([tmp_path / "x" / "results", tmp_path / "y" / "results"]) == ["x/results", "y/results"]
    with pytest.raises(ConfigError, match="different folders"):
        folder_names([tmp_path, tmp_path])


def test_infinity_is_no_value_but_for_ratios(tmp_path):
    root = write_results(tmp_path / "results", samples=2, methods=("idle",), side=48)
    metrics = {name: {"value": "inf"} for name in ("psnr", "mean_distance")}
    (root / "idle" / "blob000" / "metrics.json").write_text(json.dumps({"metrics": metrics}))
    table = read_folders([root])[0].table
    assert table["psnr"][0] == float("inf") and table["mean_distance"].isna().all()


@pytest.mark.parametrize(
    ("angle", "expected"),
    [(0, "0°–30°"), (-29.9, "0°–30°"), (30, "30°–60°"), (180, "150°–180°"), (-180, "150°–180°"), (350, "0°–30°")],
)
def test_angle_bins_are_of_the_size_of_the_turn(angle, expected):
    assert angle_bin(angle) == expected


def test_an_unknown_angle_has_no_bin():
    assert angle_bin(None) is None
    assert angle_bin(float("nan")) is None
