"""The metric suite: choice of metrics, missing weights, and values that are kept until they no longer count."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from synthetic_results import make_sample, the_wrong_way, write_edit

from evaluation.metrics import SETS, select_metrics
from evaluation.metrics.features import PictureFeatures
from evaluation.report.columns import BY_NAME
from evaluation.suite import MetricSuite
from rotationbench.diffusion.dift import DiftSettings
from rotationbench.errors import ConfigError, DatasetError
from rotationbench.results import read_edit

FULL = SETS["full"]
CHEAP = ["psnr", "psnr_target", "background_psnr", "dai_1"]


@pytest.fixture
def sample():
    return make_sample(0, 64)


def test_a_choice_of_metrics_is_a_set_a_name_or_a_list():
    assert select_metrics("none") == ()
    assert set(select_metrics("fast")) == set(SETS["fast"]) < set(select_metrics("full")) == set(FULL)
    assert select_metrics("psnr") == ("psnr",)
    assert select_metrics(["psnr", "mean_distance", "psnr"]) == ("mean_distance", "psnr")


@pytest.mark.parametrize("choice", ["psnrr", ["psnr", "psnrr"]])
def test_an_unknown_metric_is_refused_with_the_known_ones(choice):
    with pytest.raises(ConfigError, match=r"mean_distance, .*got 'psnrr'"):
        MetricSuite(choice, device="cpu")


def test_settings_are_checked():
    with pytest.raises(ConfigError, match=r"evaluator\.dift: .*'timestop'"):
        MetricSuite("none", device="cpu", dift={"timestop": 1})
    with pytest.raises(ConfigError, match=r"dift\.ensemble: expected 1 to 1000, got 0"):
        MetricSuite("none", device="cpu", dift={"ensemble": 0})


def test_every_metric_is_measured_or_reported_missing_once(sample, golden_core, monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with caplog.at_level(logging.WARNING):
        suite = MetricSuite("full", device="cpu", dift={"ensemble": 1}, clip="nobody/no-such-clip")
    assert len(caplog.records) == 2
    assert "alexnet(weights='DEFAULT')" in caplog.text
    assert "hf download nobody/no-such-clip" in caplog.text
    lpips = {name for name in FULL if "lpips" in name and "st_lpips" not in name}
    assert set(suite.missing) == lpips | {"image_fidelity", "clip_similarity"}
    values = suite.evaluate(sample, sample.target, golden_core())
    assert set(values) == set(suite.available) == set(FULL) - set(suite.missing)
    assert all(isinstance(value, float) for value in values.values())


def test_the_exact_result_the_source_and_the_wrong_way_get_what_they_deserve(sample):
    suite = MetricSuite([name for name in FULL if "distance" not in name and "st_lpips" not in name], device="cpu")
    exact, idle, backwards = (
        suite.evaluate(sample, edited, None) for edited in (sample.target, sample.image, the_wrong_way(sample))
    )
    assert exact["psnr_target"] == exact["inside_psnr_target"] == exact["outside_psnr_target"] == math.inf
    assert exact["ssim_target"] == pytest.approx(1)
    assert idle["psnr"] == idle["untouched_psnr"] == idle["background_psnr"] == math.inf
    assert exact["background_psnr"] == math.inf
    assert exact["rotation_error"] == pytest.approx(0, abs=1.5)
    assert idle["rotation_error"] == pytest.approx(20, abs=0.1)
    assert backwards["rotation_error"] == pytest.approx(40, abs=1.5)
    assert exact["dai_1"] < 0.5 * idle["dai_1"]
    assert exact["inside_ssim_target"] > backwards["inside_ssim_target"]


def test_regions_of_a_learned_distance_add_up_to_the_whole(sample):
    suite = MetricSuite(["st_lpips_target", "inside_st_lpips_target", "outside_st_lpips_target"], device="cpu")
    edited = np.clip(sample.image.astype(int) + 25, 0, 255).astype(np.uint8)
    values = suite.evaluate(sample, edited, None)
    parts = values["inside_st_lpips_target"] + values["outside_st_lpips_target"]
    assert parts == pytest.approx(values["st_lpips_target"], rel=0.25)
    exact = suite.evaluate(sample, sample.target, None)
    assert list(exact.values()) == [0, 0, 0]


def test_what_a_sample_does_not_tell_has_no_value(sample, golden_sample):
    suite = MetricSuite([*CHEAP, "untouched_psnr", "inside_ssim_target", "rotation_error"], device="cpu")
    case = golden_sample("rocket")
    values = suite.evaluate(case, case.image, None)
    assert values["psnr_target"] is None
    assert values["inside_ssim_target"] is None
    assert values["untouched_psnr"] is None
    assert values["rotation_error"] is None
    assert values["background_psnr"] == math.inf


def test_features_of_edits_differ_by_no_more_than_the_edits(sample, golden_core):
    core, features = golden_core(), PictureFeatures(DiftSettings(ensemble=1))
    edit = np.roll(sample.image, 3, axis=1)
    other = edit.copy()
    other[0, 0, 0] ^= 1

    def of(picture, source=None):
        return features.of(picture, "", core, 0, edit_of=source)

    apart = (of(other, sample.image) - of(edit, sample.image)).norm() / of(edit, sample.image).norm()
    assert apart < 0.01
    # The source has a noise of its own, and so has an edit of another source.
    assert (of(edit) - of(edit, sample.image)).norm() > 0.05 * of(edit).norm()
    assert (of(edit, other) - of(edit, sample.image)).norm() > 0.05 * of(edit).norm()
    torch.testing.assert_close(of(sample.image, sample.image), of(sample.image), rtol=0, atol=0)


def test_mean_distance_is_shared_between_edits_and_set_apart_for_pivots(sample, golden_core):
    suite = MetricSuite(["mean_distance", "mean_distance_pivot"], device="cpu", dift={"ensemble": 1})
    core = golden_core()
    first = suite.evaluate(sample, sample.image, core)
    # A picture against itself: every place is found where it was.
    assert first["mean_distance"] == pytest.approx(
        np.linalg.norm(sample.sources.xy - sample.targets.xy, axis=1)[0], abs=1
    )
    assert first["mean_distance_pivot"] == pytest.approx(0, abs=1)
    calls = core.cost.phases["other"].unet_calls
    suite.evaluate(sample, sample.target, core)
    assert core.cost.phases["other"].unet_calls == calls + 1
    with pytest.raises(ConfigError, match="need a diffusion model"):
        suite.evaluate(sample, sample.image, None)


def test_an_edit_of_another_size_is_refused(sample, tmp_path):
    suite = MetricSuite(CHEAP, device="cpu")
    with pytest.raises(ValueError, match=r"blob000 uint8 \(64, 64, 3\), got uint8 \(63, 64, 3\)"):
        suite.evaluate(sample, sample.image[1:], None)
    folder = write_edit(tmp_path, sample, "idle", sample.image[1:])
    with pytest.raises(DatasetError, match=r"edited.png: expected the sample's size \(64, 64\)"):
        suite.evaluate_edit(read_edit(folder), sample, None)
    edit = read_edit(folder)
    (folder / "edited.png").unlink()
    with pytest.raises(DatasetError, match=r"edited.png: expected a picture"):
        suite.evaluate_edit(edit, sample, None)
    (folder / "edited.png").write_bytes(b"another")
    with pytest.raises(DatasetError, match=r"edited.png: expected the picture that was recorded"):
        suite.evaluate_edit(edit, sample, None)


@pytest.fixture
def counted(monkeypatch):
    """The names of all metrics measured, a set per call."""
    calls: list[set[str]] = []
    measure = MetricSuite._measure

    def count(self, edit):
        calls.append(set(edit.names))
        return measure(self, edit)

    monkeypatch.setattr(MetricSuite, "_measure", count)
    return calls


def test_values_on_disk_are_kept_until_they_no_longer_count(sample, tmp_path, counted):
    folder = write_edit(tmp_path, sample, "truth", sample.target)
    values = MetricSuite(CHEAP, device="cpu").evaluate_edit(read_edit(folder), sample, None)
    assert values["psnr_target"] == math.inf
    assert MetricSuite(CHEAP, device="cpu").evaluate_edit(read_edit(folder), sample, None) == values
    assert counted == [set(CHEAP)]
    # Another metric is added, and the others stay.
    MetricSuite(["ssim", "psnr"], device="cpu").evaluate_edit(read_edit(folder), sample, None)
    assert counted[1:] == [{"ssim"}]
    assert set(read_edit(folder).metrics) == {*CHEAP, "ssim"}
    # Another picture: nothing counts any more.
    before = (folder / "metrics.json").read_text()
    folder = write_edit(tmp_path, sample, "truth", sample.image)
    (folder / "metrics.json").write_text(before)
    assert MetricSuite(CHEAP, device="cpu").evaluate_edit(read_edit(folder), sample, None)["psnr"] == math.inf
    assert counted[2:] == [set(CHEAP)]


def test_another_exact_result_or_tool_makes_values_void(sample, tmp_path, counted):
    folder = write_edit(tmp_path, sample, "truth", sample.target)
    suite = MetricSuite(CHEAP, device="cpu")
    suite.evaluate_edit(read_edit(folder), sample, None)
    content = json.loads((folder / "metrics.json").read_text())
    content["metrics"]["psnr"]["measured_by"] = "v0 another library"
    (folder / "metrics.json").write_text(json.dumps(content))
    suite.evaluate_edit(read_edit(folder), sample, None)
    other = make_sample(0, 64, angle=-20)
    suite.evaluate_edit(read_edit(folder), other, None)
    assert counted == [set(CHEAP), {"psnr"}, set(CHEAP)]


def test_another_seed_or_model_measures_the_mean_distance_again(sample, tmp_path, golden_core, counted):
    folder = write_edit(tmp_path, sample, "truth", sample.target)
    core = golden_core()
    settings = {"device": "cpu", "dift": {"ensemble": 1}}
    first = read_edit(folder)
    second = replace(first, record=first.record | {"seed": 1})
    for edit in (first, first, second):
        MetricSuite(["mean_distance", "psnr"], **settings).evaluate_edit(edit, sample, core)
    core.model_hash = "another"
    MetricSuite(["mean_distance"], **settings).evaluate_edit(second, sample, core)
    MetricSuite(["mean_distance"], device="cpu", dift={"ensemble": 2}).evaluate_edit(second, sample, core)
    assert counted == [{"mean_distance", "psnr"}, *[{"mean_distance"}] * 3]


def test_infinity_survives_the_file(sample, tmp_path):
    folder = write_edit(tmp_path, sample, "idle", sample.image)
    MetricSuite(["psnr"], device="cpu").evaluate_edit(read_edit(folder), sample, None)
    assert json.loads((folder / "metrics.json").read_text())["metrics"]["psnr"]["value"] == "inf"
    assert read_edit(folder).metrics["psnr"] == math.inf


def test_an_unreadable_metrics_file_is_measured_anew(sample, tmp_path):
    folder = write_edit(tmp_path, sample, "idle", sample.image)
    (folder / "metrics.json").write_text('{"schema": 1, "metr')
    assert MetricSuite(["psnr"], device="cpu").evaluate_edit(read_edit(folder), sample, None) == {"psnr": math.inf}


def test_every_metric_has_a_title_and_a_direction_that_makes_sense():
    for metric in BY_NAME.values():
        assert metric.arrow == {"lower": "↓", "higher": "↑", None: ""}[metric.better]
        assert metric.label in metric.title
    assert BY_NAME["mean_distance"].title == "MD [px] ↓"
