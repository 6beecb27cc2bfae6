"""The plots of a report. Each function returns a figure, or None when there is nothing to draw."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.metrics.base import Metric
from evaluation.report.collect import ANGLE_EDGES
from evaluation.report.columns import BY_NAME
from evaluation.report.statistics import estimate, values_by_sample
from evaluation.report.styles import Style
from rotationbench.files import whole_file
from rotationbench.results import Edit
from rotationbench.rotation import wrap_degrees

STYLE_FILE = Path(__file__).parent / "rotationbench.mplstyle"
ACCURACY = ("rotation_error", "mean_distance")
FIDELITY = ("image_fidelity", "st_lpips", "psnr")
"""Metrics in order of preference; a plot takes the first that was measured."""
CURVE_POINTS = 101

Styles = Mapping[str, Style]


@contextmanager
def plot_style() -> Iterator[None]:
    """Inside the block, figures look as the project's style file says."""
    with mpl.rc_context(fname=STYLE_FILE):
        yield


def first_measured(table: pd.DataFrame, names: Sequence[str]) -> Metric | None:
    """The first of `names` for which the table has any value."""
    return next((BY_NAME[name] for name in names if name in table and table[name].notna().any()), None)


def metric_by_angle(table: pd.DataFrame, metric: Metric, styles: Styles) -> Figure | None:
    """A metric against the size of the wanted turn: samples as dots, means of angle bins with their intervals as lines.

    Args:
        table: one row per edit; see `evaluation.report.collect.edits_frame`.
        metric: what is drawn.
        styles: by method, in the order of the legend.
    """
    drawn = table[table["angle"].notna() & table.get(metric.name, pd.Series(np.nan, table.index)).notna()]
    if drawn.empty:
        return None
    figure, axes = _figure("size of the wanted turn [°]", metric.title)
    sizes = drawn["angle"].map(lambda angle: abs(wrap_degrees(angle)))
    bins = pd.cut(sizes, ANGLE_EDGES, right=False, labels=False).fillna(len(ANGLE_EDGES) - 2).astype(int)
    for number, (name, style) in enumerate(styles.items()):
        own = drawn[drawn["variant"] == name]
        if own.empty:
            continue
        by_sample = values_by_sample(own, metric)
        axes.plot(
            sizes[own.index].groupby(own["sample"]).first(),
            by_sample,
            style.marker,
            color=style.colour,
            alpha=0.25,
            markersize=3,
            markeredgewidth=0,
        )
        # Side by side, so that intervals of several methods do not cover each other.
        shift = 3 * (number - (len(styles) - 1) / 2)
        centres, means, below, above = [], [], [], []
        for index, part in own.groupby(bins[own.index]):
            found = estimate(values_by_sample(part, metric).to_numpy())
            centres.append((ANGLE_EDGES[index] + ANGLE_EDGES[index + 1]) / 2 + shift)
            means.append(found.mean)
            below.append(found.mean - found.low)
            above.append(found.high - found.mean)
        errors = np.nan_to_num(np.maximum([below, above], 0))
        axes.errorbar(
            centres, means, errors, color=style.colour, marker=style.marker, linestyle=style.line, capsize=2, label=name
        )
    axes.set_xlim(0, 180)
    axes.set_xticks(ANGLE_EDGES)
    axes.legend()
    return figure


def fidelity_against_accuracy(table: pd.DataFrame, styles: Styles) -> Figure | None:
    """Means with intervals of one metric of accuracy and one of fidelity; a marker's area is proportional to time."""
    across, up = first_measured(table, ACCURACY), first_measured(table, FIDELITY)
    if across is None or up is None:
        return None
    figure, axes = _figure(across.title, up.title)
    seconds = {name: table.loc[table["variant"] == name, "seconds"].mean() for name in styles}
    slowest = np.nanmax([*seconds.values(), 1e-9])
    for name, style in styles.items():
        own = table[table["variant"] == name]
        x, y = (estimate(values_by_sample(own, metric).to_numpy()) for metric in (across, up))
        if np.isnan(x.mean) or np.isnan(y.mean):
            continue
        axes.errorbar(
            x.mean,
            y.mean,
            xerr=_whiskers(x.mean, x.low, x.high),
            yerr=_whiskers(y.mean, y.low, y.high),
            color=style.colour,
            linestyle="none",
            linewidth=1,
        )
        share = seconds[name] / slowest if np.isfinite(seconds[name]) else 0.0
        axes.scatter(
            x.mean,
            y.mean,
            s=20 + 180 * share,
            color=style.colour,
            marker=style.marker,
            alpha=0.8,
            label=f"{name} ({seconds[name]:.1f} s)",
            zorder=3,
        )
    axes.legend(markerscale=0.5)
    return figure


def distance_left_curves(edits: Sequence[tuple[str, Edit]], styles: Styles) -> Figure | None:
    """Mean over the edits of the share of the way that is left, against the share of the drag steps made.

    Args:
        edits: pairs of method and edit.
        styles: by method.
    """
    curves: dict[str, list[np.ndarray]] = {}
    for name, edit in edits:
        left = edit.record.get("distance_left")
        if left and left[0] > 0:
            progress = np.linspace(0, 1, len(left)) if len(left) > 1 else np.zeros(1)
            curves.setdefault(name, []).append(
                np.interp(np.linspace(0, 1, CURVE_POINTS), progress, np.array(left) / left[0])
            )
    if not curves:
        return None
    figure, axes = _figure("share of the drag steps made", "share of the way left ↓")
    for name, style in styles.items():
        if name in curves:
            stack = np.stack(curves[name])
            low, middle, high = np.percentile(stack, [25, 50, 75], axis=0)
            across = np.linspace(0, 1, CURVE_POINTS)
            axes.fill_between(across, low, high, color=style.colour, alpha=0.15, linewidth=0)
            axes.plot(across, middle, color=style.colour, linestyle=style.line, label=f"{name} (median, quartiles)")
    axes.set_ylim(bottom=0)
    axes.legend()
    return figure


def cumulative_errors(table: pd.DataFrame, metric: Metric, styles: Styles) -> Figure | None:
    """Share of all edits whose error is at most so large; failed and undetermined edits never get there."""
    if metric.name not in table or table[metric.name].isna().all():
        return None
    figure, axes = _figure(metric.quantity, "share of the edits ↑")
    farthest = float(table[metric.name].max()) or 1.0
    for name, style in styles.items():
        own = table[table["variant"] == name]
        if own.empty:
            continue
        errors = np.sort(own[metric.name].dropna())
        shares = np.arange(1, len(errors) + 1) / len(own)
        axes.step(
            [0, *errors, farthest],
            [0, *shares, shares[-1] if len(shares) else 0],
            where="post",
            color=style.colour,
            linestyle=style.line,
            label=name,
        )
    axes.set_ylim(0, 1.02)
    axes.set_xlim(0, farthest)
    axes.legend()
    return figure


def cost_stack(edits: Sequence[tuple[str, Edit]], styles: Styles) -> Figure | None:
    """Mean seconds per edit of each phase, stacked, a bar for each method."""
    rows = [{"variant": name, **edit.record["phases"]} for name, edit in edits if edit.record.get("phases")]
    if not rows:
        return None
    means = pd.DataFrame(rows).groupby("variant").mean().fillna(0.0)
    names = [name for name in styles if name in means.index]
    figure, axes = _figure("mean time per edit [s]", "")
    start = np.zeros(len(names))
    greys = np.linspace(0.25, 0.85, len(means.columns))
    hatches = ("", "//", "..", "xx", "\\\\", "++", "oo")
    for index, phase in enumerate(means.columns):
        seconds = means.loc[names, phase].to_numpy()
        axes.barh(
            names,
            seconds,
            left=start,
            color=str(greys[index]),
            hatch=hatches[index % len(hatches)],
            edgecolor="white",
            label=phase,
        )
        start = start + seconds
    for label, name in zip(axes.get_yticklabels(), names, strict=True):
        label.set_color(styles[name].colour)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.legend(ncols=min(4, len(means.columns)), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def all_plots(
    table: pd.DataFrame, edits: Sequence[tuple[str, Edit]], styles: Styles
) -> Iterator[tuple[str, str, Figure]]:
    """File name, caption and figure of every plot for which there is something to draw."""
    measured = [
        BY_NAME[name] for name in ("rotation_error", "mean_distance", "psnr_target", "st_lpips") if name in table
    ]
    makers: list[tuple[str, str, Callable[[], Figure | None]]] = [
        (
            f"{metric.name}_by_angle",
            f"{metric.label} against the size of the wanted turn: samples as dots, means of angle bins with 95 % "
            "intervals.",
            lambda metric=metric: metric_by_angle(table, metric, styles),  # type: ignore[misc]
        )
        for metric in measured
    ]
    makers += [
        (
            "fidelity_against_accuracy",
            "Fidelity to the source against accuracy, with 95 % intervals; the area of a marker grows with time.",
            lambda: fidelity_against_accuracy(table, styles),
        ),
        (
            "distance_left",
            "How far the handles were from their targets during the drag: median and quartiles over the edits.",
            lambda: distance_left_curves(edits, styles),
        ),
    ]
    makers += [
        (
            f"{metric.name}_cumulative",
            f"Share of all edits with at most this {metric.label}; failed edits count among all.",
            lambda metric=metric: cumulative_errors(table, metric, styles),  # type: ignore[misc]
        )
        for metric in measured
        if metric.better == "lower"
    ]
    makers.append(("cost_stack", "Where the time goes.", lambda: cost_stack(edits, styles)))
    for name, caption, make in makers:
        with plot_style():
            figure = make()
        if figure is not None:
            yield name, caption, figure


def save_plot(figure: Figure, folder: Path, name: str) -> None:
    """Write `<name>.pdf`, `.svg` and `.png`, each whole or not at all."""
    for ending in ("pdf", "svg", "png"):
        with plot_style(), whole_file(folder / f"{name}.{ending}") as temporary:
            # Without the date, the same results give the same file.
            metadata = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}[ending]
            figure.savefig(temporary, format=ending, metadata=metadata)


def _figure(across: str, up: str) -> tuple[Figure, Axes]:
    # Not by pyplot: nothing is registered, so nothing has to be closed.
    figure = Figure()
    axes = figure.add_subplot()
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    return figure, axes


def _whiskers(mean: float, low: float, high: float) -> np.ndarray | None:
    """Lengths `(2, 1)` below and above the mean; None without an interval."""
    return None if np.isnan(low) else np.maximum([[mean - low], [high - mean]], 0)
