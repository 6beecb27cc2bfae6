"""Tables: what is printed for a mean, who is best, and each format's own rules."""

from __future__ import annotations

import csv

import numpy as np
import pandas as pd
import pytest
from synthetic_results import make_sample, write_edit

from evaluation.report.build import ReportSettings, write_report
from evaluation.report.collect import angle_bin
from evaluation.report.tables import (
    Cell,
    Table,
    group_tables,
    overall_tables,
    summarize,
    to_html,
    to_latex,
    to_markdown,
)

NAMES = ["good", "fair", "poor_one"]


@pytest.fixture
def table() -> pd.DataFrame:
    rows = []
    for index in range(8):
        for number, name in enumerate(NAMES):
            failed = name == "poor_one" and index == 0
            rows.append(
                {
                    "variant": name,
                    "sample": f"s{index}",
                    "status": "failed" if failed else "done",
                    "split": "real" if index % 2 else "generated",
                    "category": "cup",
                    "angle_bin": angle_bin(20.0 * index),
                    "mean_distance": np.nan if failed else 10.0 * (number + 1) + index,
                    "rotation_error": np.nan if index < 3 or failed else 5.0,
                    "psnr_target": np.inf if number == 0 or index == 1 else 20.0 - number,
                    "lpips": np.nan,
                    "seconds": np.nan if failed else 3.0 + number,
                }
            )
    return pd.DataFrame(rows)


@pytest.fixture
def overview(table) -> Table:
    return overall_tables(summarize(table, NAMES), NAMES)[0]


def cell(table: Table, method: str, column: str) -> Cell:
    (row,) = [row for row in table.rows if row[0].text == method]
    return row[table.header.index(column)]


def test_summary_counts_edits_failures_and_values(table):
    summary = summarize(table, NAMES).set_index(["grouping", "group", "variant", "metric"])
    row = summary.loc[("all", "all", "poor_one", "rotation_error")]
    assert (row["edits"], row["failed"], row["without_value"], row["samples"]) == (8, 1, 2, 5)
    assert summary.loc[("all", "all", "good", "psnr_target"), "infinite"] == 8
    assert summary.loc[("split", "real", "fair", "mean_distance"), "mean"] == pytest.approx(20 + np.mean([1, 3, 5, 7]))
    assert "lpips" not in summary.index.get_level_values("metric")


def test_headers_have_arrows_and_cells_have_intervals(overview):
    assert overview.header[:4] == ["method", "edits", "failed", "MD [px] ↓"]
    best = cell(overview, "good", "MD [px] ↓")
    assert best.text.startswith("13.50 ± ")
    assert "95 % interval" in best.note
    assert cell(overview, "poor_one", "failed").text == "1"


def test_best_and_second_are_marked_in_the_metric_s_direction(overview):
    assert [cell(overview, name, "MD [px] ↓").rank for name in NAMES] == [1, 2, 0]
    assert [cell(overview, name, "PSNR to target [dB] ↑").rank for name in NAMES] == [1, 2, 0]
    assert [cell(overview, name, "rotation error [°] ↓").rank for name in NAMES] == [0, 0, 0]


def test_metrics_measured_in_several_ways_have_no_best(table):
    overview = overall_tables(summarize(table, NAMES), NAMES, ["mean_distance"])[0]
    assert [cell(overview, name, "MD [px] ↓").rank for name in NAMES] == [0, 0, 0]
    assert cell(overview, "good", "PSNR to target [dB] ↑").rank == 1


def test_identical_pictures_and_missing_values_are_said(overview):
    assert cell(overview, "good", "PSNR to target [dB] ↑").text == "∞"
    assert cell(overview, "fair", "PSNR to target [dB] ↑").text.endswith("*")
    assert "* Identical pictures among them, counted as 100 dB." in overview.notes
    assert cell(overview, "good", "rotation error [°] ↓").text == "5.0 ± 0.0 (5/8)"


def test_groups_come_in_order_and_single_groups_are_left_out(table):
    titles = {item.title: item for item in group_tables(summarize(table, NAMES), NAMES)}
    assert set(titles) == {"By split", "By angle"}
    groups = list(dict.fromkeys(row[0].text for row in titles["By angle"].rows))
    assert groups == ["0°–30°", "30°–60°", "60°–90°", "90°–120°", "120°–150°"]


ODD = Table(
    "50 % & more",
    ["method", "MD [px] ↓"],
    [[Cell("a_b|c<d>"), Cell("1.0 ± 0.1", 1)], [Cell("e"), Cell("−2", 2)]],
    ["n"],
)


def test_markdown():
    lines = to_markdown(ODD).splitlines()
    assert lines[2] == "| method | MD [px] ↓ |"
    assert lines[4] == r"| a_b\|c&lt;d&gt; | **1.0 ± 0.1** |"
    assert lines[5] == "| e | <u>−2</u> |"


def test_latex():
    text = to_latex(ODD)
    assert r"\toprule" in text
    assert r"\midrule" in text
    assert r"\bottomrule" in text
    assert r"\caption{50 \% \& more. n}" in text
    assert r"method & MD [px] $\downarrow$ \\" in text
    assert r"a\_b|c$<$d$>$ & \textbf{1.0 $\pm$ 0.1} \\" in text
    assert r"e & \underline{$-$2} \\" in text
    assert r"\begin{tabular}{lr}" in text


def test_html_is_escaped():
    text = to_html(ODD)
    assert "a_b|c&lt;d&gt;" in text
    assert '<td class="rank1" title="">1.0 ± 0.1</td>' in text


def test_kind_24_labels_are_neither_markup_nor_formulas(tmp_path):
    root = tmp_path / "results"
    for label in ("<img src=x onerror=alert(1)>", "=1+1", "a|b"):
        write_edit(root, make_sample(0, 48), label, make_sample(0, 48).image, unchanged=True)
    page = write_report([root], ReportSettings(title="<b>"))
    text = (page.parent / "summary.md").read_text()
    assert "<img" not in text and "&lt;img src=x onerror=alert(1)&gt;" in text
    assert "| =1+1 |" in text and r"| a\|b |" in text
    assert "<img src=x" not in page.read_text() and "<b>" not in page.read_text().partition("</title>")[0]
    for name in ("summary.csv", "comparisons.csv"):
        cells = {cell for line in csv.reader((page.parent / name).open()) for cell in line}
        assert "'=1+1" in cells and "=1+1" not in cells
