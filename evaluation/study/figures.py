"""The figures of a study: shares of votes as in the paper's Fig. 4, and strengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.report.collect import ReportedVariant
from evaluation.report.plots import plot_style
from evaluation.report.styles import Style, method_styles
from evaluation.study.intervals import Interval

ASKED = {
    "best": "votes for the best edit [%]",
    "pairs": "pairs won [%]",
    "rank": "ranked first [%]",
}


def share_figure(labels: Sequence[str], shares: Interval, kind: str, published: Mapping[str, float]) -> Figure:
    """Shares of votes as bars with their intervals; published shares beside them as hollow diamonds.

    Args:
        labels: the labels.
        shares: of each label, 0 to 1.
        kind: `"best"`, `"pairs"` or `"rank"`.
        published: shares of other studies by label, 0 to 1, as far as they are known.
    """
    with plot_style():
        figure, axes = _axes(labels, ASKED[kind])
        styles = _styles(labels)
        for place, label in enumerate(labels):
            colour = styles[label].colour
            axes.bar(place, 100 * shares.value[place], width=0.6, color=colour, alpha=0.85)
            if not np.isnan(shares.low[place]):
                ends = [[shares.value[place] - shares.low[place]], [shares.high[place] - shares.value[place]]]
                share, reach = 100 * shares.value[place], np.maximum(100 * np.array(ends), 0)
                # Light around dark, to be seen on a bar of any colour.
                for line, width in (("white", 2.5), ("black", 1.0)):
                    axes.errorbar(place, share, reach, color=line, capsize=3, linewidth=width, capthick=width)
        marked = [label for label in labels if label in published]
        if marked:
            places = [labels.index(label) + 0.38 for label in marked]
            values = [100 * published[label] for label in marked]
            axes.plot(places, values, "D", color="black", markerfacecolor="none", markersize=5, label="published")
            axes.legend()
        if kind == "best":
            axes.axhline(100 / len(labels), color="0.5", linewidth=0.8, linestyle=":")
        axes.set_ylim(bottom=0)
    return figure


def strength_figure(labels: Sequence[str], strengths: Interval) -> Figure:
    """Bradley–Terry strengths in logits with their intervals."""
    with plot_style():
        figure, axes = _axes(labels, "strength [logits]")
        styles = _styles(labels)
        for place, label in enumerate(labels):
            value, low, high = (part[place] for part in (strengths.value, strengths.low, strengths.high))
            reach = None if np.isnan(low) else np.array([[value - low], [high - value]])
            style = styles[label]
            axes.errorbar(place, value, reach, color=style.colour, marker=style.marker, capsize=3)
        axes.axhline(0, color="0.5", linewidth=0.8, linestyle=":")
    return figure


def _styles(labels: Sequence[str]) -> dict[str, Style]:
    return method_styles([ReportedVariant(label) for label in labels])


def _axes(labels: Sequence[str], up: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(max(3.4, 1.0 + 0.8 * len(labels)), 3.2))
    axes = figure.add_subplot()
    axes.set_ylabel(up)
    long = max(len(label) for label in labels) > 11
    axes.set_xticks(range(len(labels)), labels, rotation=20 if long else 0, ha="right" if long else "center")
    axes.set_xlim(-0.6, len(labels) - 0.4)
    axes.grid(visible=False, axis="x")
    return figure, axes
