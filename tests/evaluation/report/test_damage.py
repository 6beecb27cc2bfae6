"""Results folders in which something is broken, or in which edits did nothing, still have a report that says so."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from synthetic_results import make_sample, write_edit, write_results

from evaluation.evaluate import run as evaluate
from evaluation.report.build import ReportSettings, write_report
from evaluation.report.collect import read_folders
from evaluation.report.provenance import notices
from rotationbench.results import ResultStore, write_table

ROOT = Path(__file__).resolve().parents[3]


def changed(key: str, value: object):
    return lambda record: json.dumps(record | {key: value})


DAMAGE = {
    "not JSON": lambda record: "{",
    "deep nesting": lambda record: "[" * 100_000,
    "null": lambda record: "null",
    "no files": changed("files", None),
    "a start that is no time": changed("started", 5),
    "points that are none": changed("trajectory", [[["a", "b"]]]),
    "ragged points": changed("trajectory", [[[1, 2]], [[1, 2], [3, 4]]]),
    "points without end": changed("axis", [[1e999, 0]]),
    "a time that is no number": changed("seconds", float("nan")),
    "a huge number": changed("steps", 10**400),
    "text as converged": changed("converged", "yes"),
    "a sample without a size": lambda record: json.dumps(record | {"sample": record["sample"] | {"width": "wide"}}),
    "a huge angle": lambda record: json.dumps(record | {"sample": record["sample"] | {"angle": 10**30}}),
    "failed without a reason": changed("status", "failed"),
}


def gallery(page: Path) -> list[dict]:
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    return json.loads(data)["edits"]


def test_kind_3_damaged_records_are_warnings_and_rows_and_cards(tmp_path, caplog):
    root = write_results(tmp_path / "results", samples=len(DAMAGE) + 1, methods=("idle", "truth"), side=48)
    for number, damage in enumerate(DAMAGE.values()):
        path = root / "idle" / f"blob{number:03d}" / "record.json"
        path.write_text(damage(json.loads(path.read_text())))
    (root / "truth" / "blob000" / "metrics.json").write_text('{"metrics": {"psnr": 3}}')
    (root / "samples" / "blob001" / "config.json").unlink()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("config", ["task=evaluate", f"results_dir={root}", "device=cpu", "metrics=[psnr]"])
    # The edit whose sample is broken cannot be measured.
    assert evaluate(config) == 1
    table = pd.read_parquet(root / "edits.parquet").set_index(["label", "sample"])
    damaged = table[table["status"] == "damaged"]
    assert len(damaged) == len(DAMAGE) and damaged["error"].str.contains("record.json: ").all()
    assert table["psnr"].notna().sum() == len(DAMAGE) + 1
    page = write_report([root], ReportSettings(title="Damage"))
    edits = gallery(page)
    assert len(edits) == 2 * (len(DAMAGE) + 1)
    without = [edit for edit in edits if edit["image"] is None]
    assert len(without) == len(DAMAGE) and all("record.json: " in edit["error"] for edit in without)
    found = notices(folders := read_folders([root]), folders[0].table)
    assert f"idle: {len(DAMAGE)} of {len(DAMAGE) + 1} edits cannot be read and count as not made." in found
    for number in range(len(DAMAGE)):
        assert f"idle/blob{number:03d}/record.json: " in caplog.text


def test_a_remake_that_failed_is_shown_as_failed(tmp_path):
    root = write_results(tmp_path / "results", samples=1, methods=("idle",), side=48)
    store = ResultStore(root)
    store.restate(store.read("idle", "blob000"), {"remake": {"type": "RuntimeError", "message": "no memory"}})
    write_table(store)
    (edit,) = gallery(write_report([root], ReportSettings()))
    assert (edit["status"], edit["error"], edit["image"]) == ("failed", "RuntimeError: no memory", None)


@pytest.mark.parametrize(("mark", "words"), [("unchanged", "equals its source"), ("unmoved", "no handle moved")])
def test_kind_21_edits_that_did_nothing_are_marked_in_table_and_report(tmp_path, mark, words):
    root = tmp_path / "results"
    for index in range(2):
        sample = make_sample(index, 48)
        write_edit(root, sample, "idle", sample.image, **{mark: index == 0})
    table = write_table(ResultStore(root))
    assert table[mark].tolist() == [True, False]
    first, second = gallery(page := write_report([root], ReportSettings()))
    assert (first["marks"], second["marks"]) == ([words], [])
    assert ">idle: 1 of 2 edits " in page.read_text()


def test_kind_21_convergence_is_called_self_reported(tmp_path):
    page = write_report([write_results(tmp_path / "results", samples=2, side=48)], ReportSettings())
    assert "converged (self-reported)" in page.read_text()
    assert "converged (self-reported)" in (page.parent / "summary.md").read_text()
