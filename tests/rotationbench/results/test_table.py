from __future__ import annotations

import hashlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from evaluation.report.collect import read_folders
from rotationbench.results import ResultStore, edits_table, write_table
from rotationbench.results.index import INDEX_FILE, in_short
from rotationbench.results.sheet import chosen_rows, draw_sheet, write_sheet
from rotationbench.results.table import harmless, summary

OLD = Path(__file__).parent / "schema1"


@pytest.fixture
def old(tmp_path) -> Path:
    """A results folder of schema 1: two labels, a second seed, a failed edit."""
    return shutil.copytree(OLD, tmp_path / "results", ignore=shutil.ignore_patterns("*.csv"))


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


def test_kind_36_the_sheet_shows_a_bounded_choice_or_all_on_pages(old):
    store = ResultStore(old)
    table = write_table(store)
    (sheet,) = draw_sheet(store, table, rows=24, pages=False)
    with Image.open(sheet) as picture:
        both = picture.height
    (sheet,) = draw_sheet(store, table, rows=1, pages=False)
    with Image.open(sheet) as picture:
        assert picture.height < 0.6 * both
    pages = draw_sheet(store, table, rows=1, pages=True)
    assert [page.name for page in pages] == ["contact_sheet.jpg", "contact_sheet-2.jpg"]
    assert draw_sheet(store, table[:0], rows=1, pages=False) == []


def test_kind_36_a_sheet_is_drawn_only_when_it_would_show_something_else(old):
    store = ResultStore(old)
    table = write_table(store)
    (sheet,) = draw_sheet(store, table, rows=24, pages=False)
    before = sheet.stat().st_mtime_ns
    assert draw_sheet(store, table, rows=24, pages=False) == []
    assert sheet.stat().st_mtime_ns == before
    # Whatever it was that left another one there, such as a run that was killed before it drew this one.
    for content in (b"", b"no picture"):
        sheet.write_bytes(content)
        draw_sheet(store, table, rows=24, pages=False)
        with Image.open(sheet) as picture:
            picture.load()
    store.restate(store.read("dragdiffusion", "cat"), {"remake": {"message": "failed"}})
    assert draw_sheet(store, write_table(store), rows=24, pages=False) == [sheet]


def test_kind_36_a_sheet_has_a_bounded_size(tmp_path, monkeypatch):
    monkeypatch.setattr("rotationbench.results.sheet.LARGEST_FILE", 50_000)
    noise = np.random.default_rng(0).integers(0, 256, (600, 400, 3), np.uint8)
    write_sheet(tmp_path / "sheet.jpg", noise, "digest")
    assert 1_000 < (tmp_path / "sheet.jpg").stat().st_size <= 50_000


def test_the_choice_holds_the_best_and_the_worst():
    names = [f"s{index:02d}" for index in range(30)]
    done = pd.DataFrame({"sample": names, "mean_distance": np.arange(30.0)})
    chosen = chosen_rows(done, names, 9)
    assert len(chosen) == 9 and chosen == sorted(chosen)
    assert {"s00", "s01", "s02", "s27", "s28", "s29"} <= set(chosen)
    assert chosen == chosen_rows(done, names, 9)
    assert chosen_rows(done, names[:5], 9) == names[:5]


def test_only_records_that_were_touched_are_read_again(old, monkeypatch):
    from rotationbench.results import edit as reading

    first = write_table(ResultStore(old))
    read = []
    monkeypatch.setattr(reading, "check_record", lambda record: read.append(record["sample"]["name"]))
    again = write_table(ResultStore(old))
    assert read == []
    pd.testing.assert_frame_equal(again, first)
    assert (old / "edits.csv").read_text() == harmless(first).to_csv(index=False)
    edit = next(iter(ResultStore(old).edits()))
    read.clear()
    record = edit.folder / "record.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"seed": 7}))
    changed = write_table(ResultStore(old))
    assert read == [edit.sample_name]
    assert list(changed["seed"]) == [7, *first["seed"][1:]]
    shutil.rmtree(edit.folder)
    assert len(write_table(ResultStore(old))) == len(first) - 1


def hashed(text: str) -> bytes:
    return hashlib.sha256(text.encode()).hexdigest().encode() + b"\n" + text.encode()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: b"",
        lambda content: content[:-20],
        lambda content: content.replace(b'"done"', b'"lost"'),
        lambda content: hashed('{"version": 0, "edits": {"dragdiffusion/cat": []}}'),
    ],
    ids=["empty", "cut short", "altered", "another version"],
)
def test_an_index_that_cannot_be_used_is_made_again(old, spoil):
    first = write_table(ResultStore(old))
    index = old / INDEX_FILE
    sound = index.read_bytes()
    index.write_bytes(spoil(sound))
    pd.testing.assert_frame_equal(write_table(ResultStore(old)), first)
    assert index.read_bytes() == sound


def test_an_index_says_of_edits_what_their_records_say(old):
    write_table(ResultStore(old))
    whole, short = list(ResultStore(old).edits()), ResultStore(old).index.edits()
    assert [edit.folder for edit in short] == [edit.folder for edit in whole]
    for one, other in zip(short, whole, strict=True):
        assert (one.done, one.metrics, one.record) == (other.done, other.metrics, in_short(other.record))
    pd.testing.assert_frame_equal(edits_table(short), edits_table(whole))


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
