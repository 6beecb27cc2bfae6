"""The report: its files, and its comparison of folders."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from synthetic_results import NASTY, make_sample, write_edit

from evaluation.report.build import ReportSettings, run, write_report
from evaluation.report.collect import read_folders
from evaluation.report.provenance import differing_settings
from rotationbench.datasets import write_sample
from rotationbench.errors import ConfigError, DatasetError
from rotationbench.results import SAMPLES

ROOT = Path(__file__).resolve().parents[3]


def test_tables_come_out_as_they_must(report):
    summary = pd.read_csv(report.parent / "summary.csv").set_index(["grouping", "group", "variant", "metric"])
    errors = {name: summary.loc[("all", "all", name, "rotation_error")] for name in ("truth", "idle", "backwards")}
    # Turns of 20, −40, 70 and 100 degrees; the last one backwards failed.
    assert errors["truth"]["mean"] == pytest.approx(0, abs=1.5)
    assert errors["idle"]["mean"] == pytest.approx((20 + 40 + 70 + 100) / 4, abs=0.5)
    assert errors["backwards"]["mean"] == pytest.approx(2 * (20 + 40 + 70) / 3, abs=1.5)
    assert errors["backwards"][["edits", "failed", "samples"]].tolist() == [4, 1, 3]
    assert errors["truth"][["edits", "failed", "samples"]].tolist() == [5, 0, 4]
    assert errors["idle"]["low"] < errors["idle"]["mean"] < errors["idle"]["high"]
    overview = next(line for line in (report.parent / "summary.md").read_text().splitlines() if "| truth |" in line)
    assert "**∞**" in overview
    assert r"\textbf{$\infty$}" in (report.parent / "summary.tex").read_text()


def test_paired_comparison_comes_out_as_it_must(report):
    table = pd.read_csv(report.parent / "comparisons.csv").set_index(["metric", "first", "second"])
    row = table.loc[("rotation_error", "truth", "backwards")]
    assert row[["wins", "losses", "ties"]].tolist() == [4, 0, 0]
    assert row["difference_samples"] == 3
    assert row["p_holm"] >= row["p"]


def test_plots_are_vector_and_pixel_files(report):
    plots = report.parent / "plots"
    for name in ("rotation_error_by_angle", "rotation_error_cumulative", "distance_left", "cost_stack"):
        for ending in ("pdf", "svg", "png"):
            assert (plots / f"{name}.{ending}").stat().st_size > 1000


def test_the_page_is_self_contained(report):
    page = report.read_text()
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page
    assert NASTY not in page


# --- several folders ------------------------------------------------------------------------------------------------


def report_on(*overrides: str) -> int:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return run(compose("config", ["task=report", *overrides]))


def test_folders_are_kept_apart_and_their_differences_listed(two_folders):
    assert report_on(f"results_dir=[{two_folders[0]},{two_folders[1]}]") == 0
    output = two_folders[0] / "report"
    summary = pd.read_csv(output / "summary.csv")
    assert set(summary["variant"]) == {"rotationdrag @ here", "rotationdrag @ there"}
    found = {item.key: item.values for item in differing_settings(read_folders(two_folders))}
    assert found == {
        "config.method.max_steps": {"here": "80", "there": "160"},
        "weights_hash": {"here": "80", "there": "160"},
    }
    for name in ("summary.md", "report.html"):
        assert "config.method.max_steps" in (output / name).read_text()


def test_different_samples_under_one_name_are_refused(two_folders):
    sample = make_sample(0, 64, angle=33)
    write_sample(two_folders[1] / SAMPLES / sample.name, sample)
    write_edit(two_folders[1], sample, "rotationdrag", sample.image)
    with pytest.raises(DatasetError, match="not put into one mean"):
        write_report(two_folders, ReportSettings())


def test_the_task_checks_its_settings(two_folders, tmp_path):
    output = tmp_path / "out"
    assert report_on(f"results_dir={two_folders[1]}", f"report.output={output}", "report.picture_side=64") == 0
    assert (output / "report.html").is_file()
    with pytest.raises(ConfigError, match="picture_side: expected 32 to 1024, got 8"):
        report_on(f"results_dir={two_folders[0]}", "report.picture_side=8")
    with pytest.raises(ConfigError, match="expected a folder or a list of folders, got 3"):
        report_on("results_dir=3")
    with pytest.raises(ConfigError, match="expected a folder with edits"):
        report_on(f"results_dir={tmp_path / 'nowhere'}")
