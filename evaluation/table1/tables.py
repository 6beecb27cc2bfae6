"""Accuracies of the pairs, with intervals, as Table I in CSV, Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from evaluation.table1.paper import PRINTED
from evaluation.table1.warps import KINDS
from rotationbench.files import whole_file
from rotationbench.markdown import plain
from rotationbench.markdown import row as markdown_row
from rotationbench.results.table import harmless

TABLE_THRESHOLD = 3.0
"""Corner error in pixels up to which a pair of Table I is correct."""


def accuracies(
    pairs: pd.DataFrame, thresholds: Sequence[float], by: Sequence[str] = ("feature", "kind")
) -> pd.DataFrame:
    """Share of correct pairs by group and threshold.

    Args:
        pairs: a row per pair with `corner_error` in pixels, missing when there was no homography, and the columns
            of `by`.
        thresholds: corner errors up to which a pair is correct, in pixels.
        by: what to group by.

    Returns:
        A row per group and threshold: the columns of `by`, `threshold`, `pairs`, `no_homography` (these count as
        wrong), `correct`, and in percent `accuracy` with the 95 % Wilson interval `low` to `high`.
    """
    rows = []
    for key, group in pairs.groupby(list(by), sort=False, observed=True):
        # A missing error compares as False, so it is never correct.
        for threshold in thresholds:
            correct = int((group["corner_error"] <= threshold).sum())
            low, high = proportion_confint(correct, len(group), method="wilson")
            rows.append(
                {
                    **dict(zip(by, key, strict=True)),
                    "threshold": threshold,
                    "pairs": len(group),
                    "no_homography": int(group["corner_error"].isna().sum()),
                    "correct": correct,
                    "accuracy": 100 * correct / len(group),
                    "low": 100 * low,
                    "high": 100 * high,
                }
            )
    columns = [*by, "threshold", "pairs", "no_homography", "correct", "accuracy", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def table1(accuracy: pd.DataFrame, features: Sequence[str]) -> pd.DataFrame:
    """Table I: a row per feature with percent by type at 3 px and the number of pairs; one that could not run has none.

    Args:
        accuracy: from `accuracies`, with 3 px among its thresholds.
        features: the rows, in order.
    """
    chosen = accuracy[accuracy["threshold"] == TABLE_THRESHOLD]
    table = chosen.pivot_table(index="feature", columns="kind", values="accuracy").reindex(
        index=list(features), columns=list(KINDS)
    )
    table["pairs"] = chosen.groupby("feature")["pairs"].sum().reindex(table.index).fillna(0).astype(int)
    return table.rename_axis(columns=None).reset_index()


def write_tables(
    folder: Path,
    accuracy: pd.DataFrame,
    features: Sequence[str],
    *,
    pictures: str,
    missing: Mapping[str, str],
    notes: Mapping[str, str],
) -> str:
    """Write `table1.csv`, `table1.md`, `table1.tex` and `accuracy.csv`.

    Args:
        folder: where to.
        accuracy: from `accuracies`, by feature and kind.
        features: the rows, in order.
        pictures: what the pictures are, and how many of how many.
        missing: why a feature could not run.
        notes: remarks on features.

    Returns:
        The Markdown text.
    """
    with whole_file(folder / "table1.csv") as temporary:
        harmless(table1(accuracy, features)).to_csv(temporary, index=False, float_format="%.3f")
    with whole_file(folder / "accuracy.csv") as temporary:
        harmless(accuracy).to_csv(temporary, index=False, float_format="%.3f")
    text = _markdown(accuracy, features, pictures, missing, notes)
    with whole_file(folder / "table1.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    with whole_file(folder / "table1.tex") as temporary:
        temporary.write_text(_latex(accuracy, features, pictures, missing), encoding="utf-8")
    return text


def _readable(accuracy: pd.DataFrame, features: Sequence[str], threshold: float) -> pd.DataFrame:
    """Rows of text: each feature with its intervals, and below it the printed figures where the paper has any."""
    chosen = accuracy[accuracy["threshold"] == threshold].set_index(["feature", "kind"])
    rows = []
    for feature in features:
        if feature in chosen.index.get_level_values("feature"):
            own = chosen.loc[feature]
            cells = {kind: _cell(own.loc[kind]) for kind in KINDS if kind in own.index}
            rows.append({"feature": feature, **cells, "pairs": str(own["pairs"].sum())})
        else:
            rows.append({"feature": feature, **dict.fromkeys(KINDS, "not run"), "pairs": "0"})
        if threshold == TABLE_THRESHOLD and feature in PRINTED:
            printed = {kind: f"{value:.1f}" for kind, value in PRINTED[feature].items()}
            rows.append({"feature": f"{feature}, as printed", **printed, "pairs": "1140"})
    return pd.DataFrame(rows, columns=["feature", *KINDS, "pairs"])


def _cell(row: pd.Series) -> str:
    return f"{row['accuracy']:.1f} [{row['low']:.1f}, {row['high']:.1f}]"


def _markdown(
    accuracy: pd.DataFrame,
    features: Sequence[str],
    pictures: str,
    missing: Mapping[str, str],
    notes: Mapping[str, str],
) -> str:
    lines = ["# Table I: homography accuracy by type of transformation", ""]
    lines += ["Percent of pairs whose mean corner error is within the threshold, with 95 % Wilson intervals."]
    lines += [f"Pictures: {plain(pictures)}.", ""]
    for threshold in sorted(accuracy["threshold"].unique(), key=lambda value: (value != TABLE_THRESHOLD, value)):
        lines += [
            f"## Corner error up to {threshold:g} px",
            "",
            *_markdown_table(_readable(accuracy, features, threshold)),
            "",
        ]
    lines += [f"- {plain(f'{feature} could not run: {reason}')}" for feature, reason in missing.items()]
    lines += [f"- {plain(f'{feature}: {note}.')}" for feature, note in notes.items() if note]
    failures = accuracy[accuracy["threshold"] == TABLE_THRESHOLD].groupby("feature", sort=False)["no_homography"].sum()
    lines += [
        f"- {plain(str(feature))}: {count} pairs without a homography, counted as wrong."
        for feature, count in failures.items()
    ]
    return "\n".join(lines) + "\n"


def _markdown_table(table: pd.DataFrame) -> list[str]:
    rows = [table.columns, ["---"] + ["---:"] * (len(table.columns) - 1), *table.itertuples(index=False)]
    return [markdown_row(plain(str(cell)) for cell in row) for row in rows]


def _latex(accuracy: pd.DataFrame, features: Sequence[str], pictures: str, missing: Mapping[str, str]) -> str:
    table = _readable(accuracy, features, TABLE_THRESHOLD)
    caption = "Homography accuracy (\\%, corner error $\\leq$ 3 px) by type of transformation, 95\\,\\% intervals."
    caption += f" Pictures: {pictures}."
    if missing:
        caption += " Not run for want of weights: " + ", ".join(missing).replace("_", r"\_") + "."
    return table.to_latex(index=False, escape=True, caption=caption, label="tab:table1", column_format="lrrrrr")


def by_angle(pairs: pd.DataFrame, width: float, threshold: float = TABLE_THRESHOLD) -> pd.DataFrame:
    """Accuracy under rotation by the size of the angle.

    Args:
        pairs: a row per pair.
        width: width of a bin in degrees, a divisor of 180.
        threshold: corner error up to which a pair is correct, in pixels.

    Returns:
        As `accuracies` gives it, by `feature` and `angle`, the middle of the bin in degrees.
    """
    rotated = pairs[pairs["kind"] == "rotation"]
    bins = np.minimum(np.floor(rotated["amount"].abs() / width), 180 / width - 1)
    binned = rotated.assign(angle=(bins + 0.5) * width).sort_values("angle", kind="stable")
    return accuracies(binned, [threshold], by=("feature", "angle"))
