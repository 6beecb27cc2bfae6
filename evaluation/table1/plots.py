"""Figures: accuracy against the angle and against the amount of each transformation, and the worst pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

from evaluation.table1.experiment import Outcome
from evaluation.table1.pairs import Pair
from evaluation.table1.tables import TABLE_THRESHOLD, accuracies, by_angle
from evaluation.table1.warps import KINDS, transform
from rotationbench.files import whole_file

ANGLE_BIN = 20.0
"""Width of a bin of angles, in degrees."""

AMOUNT_BINS = 6
AMOUNT_LABELS = {
    "scaling": "factor",
    "rotation": "angle in degrees",
    "perspective": "strength ρ",
    "translation": "shift as a fraction of the crop's diagonal",
}
LONGEST_NAME = 60
DRAWN_MATCHES = 120
CORRECT, WRONG = "#2ca02c", "#d62728"


def plot_rotation(pairs: pd.DataFrame, features: Sequence[str]) -> Figure:
    """Accuracy at 3 px against the size of the rotation, with 95 % intervals, a line per feature."""
    binned = by_angle(pairs, ANGLE_BIN)
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for feature in features:
        _line(axes, binned[binned["feature"] == feature], "angle", feature)
    axes.set(
        xlabel="rotation in degrees, either direction",
        ylabel=f"pairs within {TABLE_THRESHOLD:g} px, in percent",
        xlim=(0, 180),
        ylim=(-3, 103),
        xticks=range(0, 181, 30),
    )
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def plot_amounts(pairs: pd.DataFrame, features: Sequence[str]) -> Figure:
    """Accuracy at 3 px against the amount of each type of transformation, a panel per type."""
    diagonal = np.hypot(pairs["height"], pairs["width"])
    pairs = pairs.assign(amount=pairs["amount"].where(pairs["kind"] != "translation", pairs["amount"] / diagonal))
    figure, panels = plt.subplots(2, 2, figsize=(10, 6.4), layout="constrained", sharey=True)
    for axes, kind in zip(panels.flat, KINDS, strict=True):
        chosen = pairs[pairs["kind"] == kind]
        edges = np.linspace(chosen["amount"].min(), chosen["amount"].max(), AMOUNT_BINS + 1)
        index = np.clip(np.searchsorted(edges, chosen["amount"], side="right") - 1, 0, AMOUNT_BINS - 1)
        middles = (edges[:-1] + edges[1:]) / 2
        binned = accuracies(
            chosen.assign(middle=middles[index]).sort_values("middle", kind="stable"),
            [TABLE_THRESHOLD],
            by=("feature", "middle"),
        )
        for feature in features:
            _line(axes, binned[binned["feature"] == feature], "middle", feature)
        axes.set(title=kind, xlabel=AMOUNT_LABELS[kind], ylim=(-3, 103))
        axes.grid(alpha=0.3)
    for axes in panels[:, 0]:
        axes.set_ylabel(f"pairs within {TABLE_THRESHOLD:g} px, in percent")
    panels[0, 0].legend()
    return figure


def draw_worst(worst: Sequence[tuple[str, np.ndarray, Pair, Outcome]], feature: str) -> Figure:
    """The matches of pairs side by side, green where the true homography agrees within 3 px, red elsewhere.

    Args:
        worst: name of the picture, its reference crop uint8 `(H, W, 3)`, the pair and what came of it.
        feature: name of the feature, for the title.
    """
    columns = 2
    rows = -(-len(worst) // columns)
    figure, panels = plt.subplots(rows, columns, figsize=(13, 3.4 * rows), layout="constrained", squeeze=False)
    figure.suptitle(f"{feature}: the pairs with the largest corner errors")
    for axes in panels.flat:
        axes.axis("off")
    for axes, (name, reference, pair, outcome) in zip(panels.flat, worst, strict=False):
        axes.imshow(np.concatenate([reference, pair.image], axis=1))
        source, target = outcome.matched_points
        distances = np.linalg.norm(transform(pair.warp.homography, source) - target, axis=1)
        correct = distances <= TABLE_THRESHOLD
        shown = np.linspace(0, len(source) - 1, min(DRAWN_MATCHES, len(source))).astype(int)
        segments = np.stack([source, target + np.array([reference.shape[1], 0])], axis=1)[shown]
        colours = [CORRECT if is_correct else WRONG for is_correct in correct[shown]]
        axes.add_collection(LineCollection(list(segments), colors=colours, linewidths=0.6, alpha=0.8))
        error = "no homography" if outcome.corner_error is None else f"corner error {outcome.corner_error:.1f} px"
        matches = f"{correct.sum()} of {len(source)} matches correct"
        shown_name = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
        axes.set_title(f"{shown_name}, {pair.warp.kind} {pair.warp.amount:.3g}\n{error}, {matches}", fontsize=9)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure, whole or not at all, and close it. A dollar sign in a name begins no formula."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=130)
    plt.close(figure)


def _line(axes: plt.Axes, accuracy: pd.DataFrame, x: str, label: str) -> None:
    (line,) = axes.plot(accuracy[x], accuracy["accuracy"], marker="o", markersize=4, label=label)
    axes.fill_between(accuracy[x], accuracy["low"], accuracy["high"], color=line.get_color(), alpha=0.15, linewidth=0)
