import numpy as np
import pandas as pd
import pytest

from evaluation.table1.tables import accuracies, by_angle, table1, write_tables
from evaluation.table1.warps import KINDS


@pytest.fixture
def pairs() -> pd.DataFrame:
    """Two features, 10 pairs of each kind; feature `b` fails under rotation."""
    rows = []
    for feature in ("a", "b"):
        for kind in KINDS:
            for index in range(10):
                error = 0.5 + 0.5 * index
                if feature == "b" and kind == "rotation":
                    error = None if index < 4 else 50.0
                rows.append({"feature": feature, "kind": kind, "amount": 36.0 * index - 170, "corner_error": error})
    return pd.DataFrame(rows)


def test_shares_and_intervals_are_those_of_the_wilson_formula(pairs):
    accuracy = accuracies(pairs, [1, 3, 5])
    assert len(accuracy) == 2 * 4 * 3
    row = accuracy[(accuracy["feature"] == "a") & (accuracy["kind"] == "scaling")].set_index("threshold")
    assert row["correct"].tolist() == [2, 6, 10]
    assert row["accuracy"].tolist() == [20, 60, 100]
    share, n, z = 0.6, 10, 1.959963985
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    assert row.loc[3, "low"] == pytest.approx(100 * (middle - half))
    assert row.loc[3, "high"] == pytest.approx(100 * (middle + half))


def test_pairs_without_a_homography_count_as_wrong_and_are_counted(pairs):
    accuracy = accuracies(pairs, [3, 1000]).set_index(["feature", "kind", "threshold"])
    assert accuracy.loc[("b", "rotation", 3), ["pairs", "no_homography", "correct"]].tolist() == [10, 4, 0]
    assert accuracy.loc[("b", "rotation", 1000), "correct"] == 6


def test_an_infinite_error_is_wrong_but_a_homography():
    pairs = pd.DataFrame({"feature": "a", "kind": "scaling", "corner_error": [np.inf, 1.0]})
    row = accuracies(pairs, [3]).iloc[0]
    assert (row["correct"], row["no_homography"]) == (1, 0)


def test_the_table_has_a_row_per_feature_also_for_those_that_could_not_run(pairs):
    table = table1(accuracies(pairs, [1, 3]), ["b", "superpoint", "a"])
    assert list(table.columns) == ["feature", *KINDS, "pairs"]
    assert table["feature"].tolist() == ["b", "superpoint", "a"]
    assert table["pairs"].tolist() == [40, 0, 40]
    assert table["rotation"].tolist()[::2] == [0, 60]
    assert np.isnan(table.loc[1, "rotation"])


def test_files_hold_the_figures_the_printed_ones_and_what_is_missing(pairs, tmp_path):
    pairs = pairs.replace({"feature": {"a": "sift"}})
    accuracy = accuracies(pairs, [1, 3])
    text = write_tables(
        tmp_path,
        accuracy,
        ["sift", "superpoint", "b"],
        pictures="52 of 57 illumination sequences of HPatches",
        missing={"superpoint": "no weights; run `fetch`"},
        notes={"b": "corners", "sift": ""},
    )
    assert (tmp_path / "table1.md").read_text() == text
    assert "52 of 57 illumination sequences" in text
    assert "| sift | 60.0 [31.3, 83.2] |" in text
    assert "| sift, as printed | 99.6 | 100.0 | 99.6 | 99.3 | 1140 |" in text
    assert "| superpoint | not run |" in text
    assert "superpoint could not run: no weights; run `fetch`" in text
    assert "b: 4 pairs without a homography" in text
    written = pd.read_csv(tmp_path / "table1.csv")
    assert list(written.columns) == ["feature", *KINDS, "pairs"]
    assert written.set_index("feature").loc["sift", "scaling"] == 60
    assert len(pd.read_csv(tmp_path / "accuracy.csv")) == len(accuracy)
    latex = (tmp_path / "table1.tex").read_text()
    assert latex.count(r"\\") == 1 + 3 + 2
    assert "superpoint" in latex
    assert "52 of 57 illumination sequences" in latex


def test_angles_are_binned_by_size(pairs):
    binned = by_angle(pairs[pairs["feature"] == "a"], 60.0)
    sizes = np.abs(36.0 * np.arange(10) - 170)
    expected = [((sizes >= low) & (sizes < low + 60)).sum() for low in (0, 60, 120)]
    assert binned["angle"].tolist() == [30, 90, 150]
    assert binned["pairs"].tolist() == expected
    assert binned["accuracy"].iloc[0] == pytest.approx(100 * np.mean((0.5 + 0.5 * np.arange(10))[sizes < 60] <= 3))
