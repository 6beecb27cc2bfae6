"""The plots that a leaderboard links to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from evaluation.report.plots import plot_style
from rotationbench.files import whole_file

ROW_INCHES = 0.24


def intervals_plot(rows: Sequence[tuple[str, Sequence[float | None] | None]], title: str, better: str | None) -> Figure:
    """Means with their intervals, a line each, the best on top.

    Args:
        rows: names, and the mean with the interval's ends, which may be None; None without a value.
        title: of the metric.
        better: `"lower"`, `"higher"` or None.
    """
    known = [(name, np.array(values, dtype=np.float64)) for name, values in rows if values is not None]
    known = [(name, values) for name, values in known if not np.isnan(values[0])]
    known.sort(key=lambda row: row[1][0], reverse=better != "higher")
    with plot_style():
        figure = Figure(figsize=(7, 1.2 + ROW_INCHES * len(known)), layout="constrained")
        axes = figure.add_subplot()
        for place, (_, (mean, low, high)) in enumerate(known):
            # Without an interval both ends are NaN, which draws nothing.
            axes.plot([low, high], [place, place], color="#8c8c8c", linewidth=2)
            axes.plot([mean], [place], marker="o", color="#0072B2", markersize=4)
        axes.set_yticks(range(len(known)), [name for name, _ in known], fontsize=7)
        axes.set_xlabel(title)
        axes.set_ylim(-1, len(known))
    return figure


def save_svg(figure: Figure, path: Path) -> None:
    """Write a figure, whole or not at all; without the date, the same results give the same file."""
    with plot_style(), whole_file(path) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None})
