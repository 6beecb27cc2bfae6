"""The report: its files, its comparison of folders, and its page in a real browser."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from headless_chromium import Page, chromium
from hydra import compose, initialize_config_dir
from synthetic_results import make_sample, measure, the_truth, write_edit, write_results

from evaluation.report.build import ReportSettings, run, write_report
from evaluation.report.collect import read_folders
from evaluation.report.provenance import differing_settings
from rotationbench.datasets import write_sample
from rotationbench.errors import ConfigError, DatasetError
from rotationbench.results import SAMPLES

ROOT = Path(__file__).resolve().parents[3]
NASTY = 'x</script><script>throw new Error("escaped")</script>'


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """The report of three methods on four samples, with a failed edit and a second seed; the page's path."""
    root = write_results(tmp_path_factory.mktemp("known") / "results", samples=4, side=96)
    write_edit(root, make_sample(3, 96), "backwards", None)
    write_edit(root, make_sample(2, 96), "truth", the_truth(make_sample(2, 96)), seed=1)
    measure(root)
    record_file = root / "idle" / "blob001" / "record.json"
    record = json.loads(record_file.read_text())
    record["config"]["note"] = NASTY
    record_file.write_text(json.dumps(record))
    return write_report([root], ReportSettings(title="Known answers"))


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


@pytest.fixture(scope="module")
def page(report):
    program = chromium()
    if program is None:
        pytest.skip("there is no chromium on this machine")
    with Page(program) as browser:
        browser.open(report)
        yield browser


def cards(page: Page) -> list[list[str]]:
    found = page.run("[...document.querySelectorAll('.card')].map((c) => [c.dataset.method, c.dataset.sample])")
    return [tuple(card) for card in found]


@pytest.fixture
def gallery(page):
    page.click("button[type=reset]")
    page.run("new Promise((done) => setTimeout(done, 50))")
    return page


def test_the_page_loads_without_errors_or_requests(page, report):
    assert page.errors == []
    assert page.requests == [report.resolve().as_uri()]
    assert page.run("document.title") == "Known answers"


def test_all_edits_are_there_with_their_pictures(gallery):
    assert len(cards(gallery)) == 13
    assert gallery.run("document.getElementById('shown').textContent") == "13 of 13 edits"
    pictures = "[...document.querySelectorAll('.card img, .plots img')]"
    widths = gallery.run(f"Promise.all({pictures}.map((i) => i.decode().then(() => i.naturalWidth)))")
    assert len(widths) > 12 * 2
    assert min(widths) > 0
    assert gallery.run("document.querySelector('.card .failed').textContent") == "RuntimeError: out of memory"


def test_filters_choose_by_method_split_angle_and_name(gallery):
    gallery.choose(
        "#filter-method",
        gallery.run(
            "[...document.querySelectorAll('#filter-method option')].find((o) => o.textContent === 'idle').value"
        ),
    )
    assert cards(gallery) == [("idle", f"blob00{index}") for index in range(4)]
    gallery.choose("#filter-split", "generated")
    assert cards(gallery) == [("idle", "blob000"), ("idle", "blob002")]
    gallery.choose("#filter-bin", "60°–90°")
    assert cards(gallery) == [("idle", "blob002")]
    gallery.click("button[type=reset]")
    gallery.run("new Promise((done) => setTimeout(done, 50))")
    assert len(cards(gallery)) == 13
    gallery.choose("#filter-name", "B000")
    assert {sample for _, sample in cards(gallery)} == {"blob000"}
    gallery.choose("#filter-status", "failed")
    assert cards(gallery) == []


def test_worst_cases_come_first(gallery):
    gallery.choose("#filter-order", "worst:rotation_error")
    gallery.choose("#filter-count", "3")
    # The failed edit, then turns that are off by 140 and by 100 degrees.
    assert cards(gallery) == [("backwards", "blob003"), ("backwards", "blob002"), ("idle", "blob003")]
    gallery.choose("#filter-order", "best:psnr_target")
    assert {method for method, _ in cards(gallery)} == {"truth"}


def test_the_slider_moves_the_border_between_before_and_after(gallery):
    gallery.choose(".card input[type=range]", "25")
    shown = gallery.run("document.querySelectorAll('.card .picture')[0].querySelectorAll('img')[1].style.clipPath")
    assert shown.replace("0px", "0").startswith("inset(0 75% 0 0")
    gallery.choose("#filter-before", "target")
    label = gallery.run("document.querySelector('.card input[type=range]').getAttribute('aria-label')")
    assert label == "left: exact result, right: edited"


def test_ways_are_drawn_from_source_to_target_and_can_be_hidden(gallery):
    way = gallery.run("document.querySelector('.card polyline').getAttribute('points')").split()
    sample = make_sample(0, 96)
    first, last = ([float(part) for part in point.split(",")] for point in (way[0], way[-1]))
    assert first == pytest.approx(sample.sources.xy[0] + 0.5, abs=0.1)
    assert last == pytest.approx(sample.targets.xy[0] + 0.5, abs=0.1)
    gallery.click("#filter-points")
    assert gallery.run("getComputedStyle(document.querySelector('.card svg')).display") == "none"


def test_each_edit_s_record_opens(gallery):
    gallery.choose("#filter-name", "blob001")
    gallery.choose("#filter-method", "1")
    gallery.click(".card details:last-of-type summary")
    gallery.run("new Promise((done) => setTimeout(done, 50))")
    record = json.loads(gallery.run("document.querySelector('.card pre').textContent"))
    assert (record["method"], record["sample"]["name"], record["config"]["note"]) == ("idle", "blob001", NASTY)
    assert gallery.errors == []


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
