"""Tables of means: computed once, then written as CSV, Markdown, LaTeX and HTML."""

from __future__ import annotations

import html
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd

from evaluation.metrics.base import Metric
from evaluation.report.collect import ANGLE_BINS
from evaluation.report.columns import BY_NAME, COLUMNS
from evaluation.report.statistics import Comparison, estimate, means_by_sample, pooled_estimate
from rotationbench.markdown import plain
from rotationbench.markdown import row as markdown_row

GROUPINGS = {"split": "split", "angle": "angle_bin", "category": "category"}
"""What means are taken apart by, and the column that says so."""
TITLES = {
    "main": "Overview",
    "accuracy": "Accuracy",
    "fidelity": "Fidelity to the source picture",
    "target": "Fidelity to the exact result",
    "cost": "Cost per edit",
}


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Args:
        text: what stands there.
        rank: 1 for the best of its column, 2 for the second best, 0 for all others.
        note: what a reader can learn when asking, such as the exact interval.
    """

    text: str
    rank: int = 0
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A table that can be written in several formats."""

    title: str
    header: list[str]
    rows: list[list[Cell]]
    notes: list[str]


def summarize(table: pd.DataFrame, variants: Sequence[str], groupings: Mapping[str, str] = GROUPINGS) -> pd.DataFrame:
    """Means of every metric and cost, per method: over all samples, and by split, angle and category.

    Args:
        table: one row per edit; see `evaluation.report.collect.edits_frame`.
        variants: the methods, in the order of the tables.
        groupings: by name, the columns by which there are means beside those over all samples.

    Returns:
        One row per grouping, group, method and metric: `grouping`, `group`, `variant`, `metric`, `mean`, `low`, `high`
        (95 % bootstrap interval over samples), `samples` (with a value), `edits`, `failed`, `without_value` (edits that
        were made, but for which the metric does not apply or could not be determined) and `infinite`.
    """
    rows = []
    metrics = [item for item in COLUMNS if item.name in table and table[item.name].notna().any()]
    parts = [("all", "all", table)]
    for grouping, column in groupings.items():
        parts += [(grouping, str(group), part) for group, part in table.groupby(column, sort=True)]
    for grouping, group, part in parts:
        for variant in variants:
            own = part[part["variant"] == variant]
            if own.empty:
                continue
            means, done = means_by_sample(own, metrics), own["status"] == "done"
            for metric in metrics:
                column = own[metric.name]
                found = (
                    pooled_estimate(column, own["pairs"], own["sample"])
                    if metric.pooled
                    else estimate(means[metric.name].to_numpy())
                )
                rows.append(
                    {
                        "grouping": grouping,
                        "group": group,
                        "variant": variant,
                        "metric": metric.name,
                        **asdict(found),
                        "edits": len(own),
                        "failed": int((~done).sum()),
                        "without_value": int((done & column.isna()).sum()),
                        "infinite": int(np.isinf(column).sum()),
                    }
                )
    return pd.DataFrame(rows)


def overall_tables(summary: pd.DataFrame, variants: Sequence[str], incomparable: Collection[str] = ()) -> list[Table]:
    """One table per group of metrics, over all samples, methods as rows.

    Args:
        summary: from `summarize`.
        variants: the methods, in the order of the rows.
        incomparable: names of metrics in which there is no best, because they were measured in different ways.
    """
    overall = summary[summary["grouping"] == "all"] if not summary.empty else summary
    tables = [
        _table(title, overall, variants, _columns(name), incomparable)
        for name, title in TITLES.items()
        if _has_values(summary, _columns(name))
    ]
    if _has_values(summary, _columns("published")):
        tables.append(_published_table(overall, variants, incomparable))
    return tables


def group_tables(summary: pd.DataFrame, variants: Sequence[str], incomparable: Collection[str] = ()) -> list[Table]:
    """The overview for each split, angle bin and category, where there are several; arguments as `overall_tables`."""
    tables = []
    for grouping in GROUPINGS:
        part = summary[summary["grouping"] == grouping]
        groups = sorted(part["group"].unique(), key=_group_order)
        if len(groups) < 2:
            continue
        columns = [metric for metric in _columns("main") if (summary["metric"] == metric.name).any()]
        rows, notes, header = [], set(), []
        for group in groups:
            inner = _table(group, part[part["group"] == group], variants, columns, incomparable, keep_empty=True)
            header = [grouping, *inner.header]
            rows += [[Cell(group), *row] for row in inner.rows]
            notes |= set(inner.notes)
        tables.append(Table(f"By {grouping}", header, rows, sorted(notes)))
    return tables


def comparison_table(comparisons: Sequence[Comparison]) -> Table:
    """Paired differences with intervals, tests and counts."""
    header = ["metric", "first", "second", "first − second", "samples", "better : worse : same", "p", "p (Holm)"]
    rows = []
    for item in comparisons:
        metric = BY_NAME[item.metric]
        rows.append(
            [
                Cell(metric.title),
                Cell(item.first),
                Cell(item.second),
                Cell(
                    f"{_number(item.difference.mean, metric.digits)} "
                    f"[{_number(item.difference.low, metric.digits)}, {_number(item.difference.high, metric.digits)}]"
                ),
                Cell(str(item.difference.samples)),
                Cell(f"{item.wins} : {item.losses} : {item.ties}"),
                Cell(_probability(item.p)),
                Cell(_probability(item.p_holm)),
            ]
        )
    notes = [
        "Mean difference on common samples with its 95 % bootstrap interval; Wilcoxon signed-rank test, corrected by "
        "Holm over the pairs of methods within a metric. Better, worse and same count samples from the first method's "
        "side; a failed edit is worse than one that was made."
    ]
    return Table("Paired comparison", header, rows, notes)


def win_rate_table(metric: Metric, matrix: pd.DataFrame) -> Table:
    """How often the row's method beats the column's."""
    rows = [
        [Cell(name), *(Cell("–" if math.isnan(value) else f"{value:.0%}") for value in matrix.loc[name])]
        for name in matrix.index
    ]
    return Table(f"Win rate of the row over the column: {metric.title}", ["", *matrix.columns], rows, [])


def to_markdown(table: Table) -> str:
    """GitHub's Markdown: the best in bold, the second best underlined."""
    marks = {0: "{}", 1: "**{}**", 2: "<u>{}</u>"}
    lines = [f"### {plain(table.title)}", "", markdown_row(map(plain, table.header))]
    lines += [markdown_row(["---"] * len(table.header))]
    lines += [markdown_row(marks[cell.rank].format(plain(cell.text)) for cell in row) for row in table.rows]
    lines += ["", *(f"{plain(note)}  " for note in table.notes)]
    return "\n".join(lines).rstrip() + "\n"


def to_latex(table: Table) -> str:
    """A `table` environment with booktabs rules: the best in bold, the second best underlined."""
    marks = {0: "{}", 1: r"\textbf{{{}}}", 2: r"\underline{{{}}}"}
    body = [" & ".join(marks[cell.rank].format(_latex(cell.text)) for cell in row) + r" \\" for row in table.rows]
    text_columns = sum(1 for name in table.header if name in (*GROUPINGS, "method", "metric", "first", "second", ""))
    alignment = "l" * text_columns + "r" * (len(table.header) - text_columns)
    caption = " ".join([f"{table.title}.", *table.notes])
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_latex(caption)}}}",
        rf"\begin{{tabular}}{{{alignment}}}",
        r"\toprule",
        " & ".join(_latex(name) for name in table.header) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def to_html(table: Table) -> str:
    """An HTML `table` with its title and notes; everything in it is escaped."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in table.header)
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="rank{cell.rank}" title="{html.escape(cell.note)}">{html.escape(cell.text)}</td>'
            for cell in row
        )
        + "</tr>"
        for row in table.rows
    )
    notes = "".join(f'<p class="note">{html.escape(note)}</p>' for note in table.notes)
    return (
        f"<h3>{html.escape(table.title)}</h3>"
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{notes}'
    )


def _published_table(overall: pd.DataFrame, variants: Sequence[str], incomparable: Collection[str]) -> Table:
    """Metrics as released scripts compute them, each column with a footnote on how it differs from ours."""
    measured = set(overall["metric"])
    columns = [metric for metric in COLUMNS if metric.published and metric.name in measured]
    columns.sort(key=lambda metric: metric.table != "published")
    table = _table("As published", overall, variants, columns, incomparable)
    footnotes = list(dict.fromkeys(metric.published for metric in columns))
    marks = [f"{metric.title} [{footnotes.index(metric.published) + 1}]" for metric in columns]
    header = [*table.header[: -len(columns)], *marks]
    notes = [*table.notes, *(f"[{number}] {text}" for number, text in enumerate(footnotes, 1))]
    return replace(table, header=header, notes=notes)


def _columns(table: str) -> list[Metric]:
    return [metric for metric in COLUMNS if (metric.main if table == "main" else metric.table == table)]


def _has_values(summary: pd.DataFrame, columns: Sequence[Metric]) -> bool:
    return not summary.empty and summary["metric"].isin([metric.name for metric in columns]).any()


def _table(
    title: str,
    part: pd.DataFrame,
    variants: Sequence[str],
    columns: Sequence[Metric],
    incomparable: Collection[str],
    *,
    keep_empty: bool = False,
) -> Table:
    """Methods as rows, metrics as columns; columns without any value are left out, unless they are to be kept."""
    present = [metric for metric in columns if keep_empty or (part["metric"] == metric.name).any()]
    rows_of = {variant: part[part["variant"] == variant].set_index("metric") for variant in variants}
    rows_of = {variant: rows for variant, rows in rows_of.items() if len(rows)}
    columns_of_cells = []
    notes: set[str] = set()
    for metric in present:
        entries = {name: rows.loc[metric.name] for name, rows in rows_of.items() if metric.name in rows.index}
        means = {name: float(entry["mean"]) for name, entry in entries.items()}
        ranks = {} if metric.name in incomparable else _ranks(means, metric)
        cells = []
        for variant in rows_of:
            entry = entries.get(variant)
            text, note = ("–", "") if entry is None else _cell_text(entry, metric, notes)
            cells.append(Cell(text, ranks.get(variant, 0), note))
        columns_of_cells.append(cells)
    rows = []
    for index, (variant, own) in enumerate(rows_of.items()):
        counts = own.iloc[0]
        rows.append(
            [
                Cell(variant),
                Cell(str(int(counts["edits"]))),
                Cell(str(int(counts["failed"]))),
                *(cells[index] for cells in columns_of_cells),
            ]
        )
    header = ["method", "edits", "failed", *(metric.title for metric in present)]
    notes.add("Mean over samples ± half of the 95 % bootstrap interval.")
    return Table(title, header, rows, sorted(notes))


def _cell_text(entry: pd.Series, metric: Metric, notes: set[str]) -> tuple[str, str]:
    made = int(entry["edits"] - entry["failed"])
    if math.isnan(entry["mean"]):
        return "–", "no value"
    if entry["infinite"] and entry["infinite"] == made - entry["without_value"]:
        return "∞", "identical pictures"
    text = _number(entry["mean"], metric.digits)
    note = ""
    if not math.isnan(entry["low"]):
        low, high = entry["low"], entry["high"]
        text += f" ± {_number((high - low) / 2, metric.digits)}"
        note = f"95 % interval {_number(low, metric.digits)} to {_number(high, metric.digits)}"
    if entry["infinite"]:
        text += " *"
        notes.add(f"* Identical pictures among them, counted as {metric.ceiling:.0f} {metric.unit}.")
    if entry["without_value"]:
        text += f" ({made - int(entry['without_value'])}/{made})"
        notes.add("(n/m): only n of the m edits that were made have a value.")
    return text, f"{note}; {int(entry['samples'])} samples".lstrip("; ")


def _ranks(means: dict[str, float], metric: Metric) -> dict[str, int]:
    """1 for the best and 2 for the second best as printed; nothing where all are the same."""
    printed = {name: round(mean, metric.digits) for name, mean in means.items() if not math.isnan(mean)}
    order = sorted(set(printed.values()), reverse=metric.better == "higher")
    if metric.better is None or len(order) < 2:
        return {}
    return {name: order.index(value) + 1 for name, value in printed.items() if order.index(value) < 2}


def _number(value: float, digits: int) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}".replace("-", "−")


def _probability(p: float) -> str:
    if math.isnan(p):
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _group_order(group: str) -> tuple[int, str]:
    """Angle bins by their lower edge, everything else by name."""
    return (ANGLE_BINS.index(group), "") if group in ANGLE_BINS else (0, group)


LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "±": r"$\pm$",
    "°": r"$^\circ$",
    "∞": r"$\infty$",
    "γ": r"$\gamma$",
    "−": "$-$",
    "–": "--",
    "<": "$<$",
    ">": "$>$",
    "²": "$^2$",
}


def _latex(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in text)
