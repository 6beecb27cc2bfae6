from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evaluation.report.collect import read_folders
from rotationbench.results import ResultStore, write_table
from rotationbench.results.table import harmless, summary

OLD = Path(__file__).parent / "schema1"


def test_folders_of_schema_1_give_the_tables_they_gave(old):
    expected = pd.read_csv(OLD / "expected.csv")
    table = read_folders([old])[0].table
    assert len(table) == 6
    # By way of text, which has one word for everything that is missing.
    found = pd.read_csv(io.StringIO(table[list(expected)].to_csv(index=False)))
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)


def test_folders_of_schema_1_give_the_summary_they_gave(old):
    from evaluation.report.tables import summarize

    table = read_folders([old])[0].table
    found = summarize(table, sorted(table["variant"].unique()))
    expected = pd.read_csv(OLD / "summary.csv")
    pd.testing.assert_frame_equal(found[list(expected)], expected, check_dtype=False)


DAMAGE = {
    "not JSON": lambda record: "{",
    "a list": lambda record: "[]",
    "deep nesting": lambda record: "[" * 100_000,
    "no files": lambda record: json.dumps(record | {"files": None}),
    "a missing key": lambda record: json.dumps({key: value for key, value in record.items() if key != "phases"}),
    "a path among the files": lambda record: json.dumps(record | {"files": {"../other": "0" * 64}}),
    "another schema": lambda record: json.dumps(record | {"schema": 99}),
    "text for numbers": lambda record: json.dumps(record | {"final_distances": ["far"]}),
    "no sample": lambda record: json.dumps(record | {"sample": None}),
    "another edit's": lambda record: json.dumps(record | {"label": "other"}),
    "another picture's hash": lambda record: json.dumps(record | {"files": {"edited.png": "0" * 64}}),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_kind_3_a_damaged_record_is_one_warning_and_a_row_that_says_so(old, caplog, damage):
    path = old / "dragdiffusion" / "cat" / "record.json"
    path.write_text(DAMAGE[damage](json.loads(path.read_text())))
    table = write_table(ResultStore(old)).set_index(["label", "sample"])
    assert len(table) == 6
    row = table.loc[("dragdiffusion", "cat")]
    assert row["status"] == "damaged" and "dragdiffusion/cat" in row["error"]
    assert sum("dragdiffusion/cat" in line.message for line in caplog.records) == 1
    assert (table["status"] == "done").sum() == 4


@pytest.mark.parametrize("content", ["{", "[]", '{"metrics": null}', '{"metrics": {"psnr": 3}}', "[" * 100_000, "\0"])
def test_malformed_metrics_are_one_warning_and_no_values(old, caplog, content):
    (old / "dragdiffusion" / "cat" / "metrics.json").write_text(content)
    table = write_table(ResultStore(old)).set_index(["label", "sample"])
    assert np.isnan(table.loc[("dragdiffusion", "cat"), "mean_distance"])
    assert table.loc[("dragdiffusion", "rocket"), "mean_distance"] > 0
    assert sum("metrics.json" in line.message for line in caplog.records) == 1


def test_kind_24_cells_are_no_formulas_for_spreadsheets():
    table = pd.DataFrame({"label": ["=1+1", "@x", "plain"], "angle": [-5.0, 3.0, 0.0]})
    assert harmless(table)["label"].tolist() == ["'=1+1", "'@x", "plain"]
    assert harmless(table)["angle"].tolist() == [-5.0, 3.0, 0.0]


def test_the_summary_counts_failures_and_means_what_was_made(old):
    lines = summary(write_table(ResultStore(old)), ["mean_distance"]).splitlines()
    turned = next(line for line in lines if line.startswith("turned"))
    assert turned.split()[1:3] == ["2", "1"]
    assert summary(pd.DataFrame(), []) == "no edits"


def test_the_tables_of_a_long_run_take_a_small_share_of_its_time(old, monkeypatch):
    from rotationbench.results import table

    now, written = [0.0], []

    def write(store):
        written.append(now[0])
        now[0] += 10.0

    monkeypatch.setattr(table.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(table, "write_table", write)
    tables = table.Tables(ResultStore(old))
    while now[0] < 1000:
        tables.extend()
        now[0] += 1.0
    assert written == [60, 260, 460, 660, 860]
