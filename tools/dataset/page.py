"""A page about a data set: `python -m tools.dataset.page PATH --output FOLDER`.

Writes `README.md` with tables, `statistics.png` with plots of angles, distances, handles and categories, and a sheet
of figures per split.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pandas as pd

from rotationbench.datasets.dataset import Dataset, open_dataset
from rotationbench.datasets.index import described
from rotationbench.drawing import contact_sheet, draw_sample
from rotationbench.errors import RotationBenchError
from rotationbench.files import whole_file, write_image

FIGURE_WIDTH = 240
FIGURES_PER_ROW = 6
UNKNOWN = "unknown"
PALETTE = {"real": "#d1495b", "generated": "#2e6f95", "in_domain": "#edae49", UNKNOWN: "#8d99ae"}


def table_of(dataset: Dataset) -> pd.DataFrame:
    """A row per sample with what `described` says about it; unknown splits and categories are called so."""
    table = pd.DataFrame([described(sample) for sample in dataset]).astype({"angle": float})
    return table.fillna(dict.fromkeys(("split", "category", "kind", "difficulty", "licence"), UNKNOWN))


def draw_plots(table: pd.DataFrame, path: Path) -> None:
    """Histograms of angles, drag lengths and handles, and counts of categories, by split, into one picture."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415 - only after the backend is chosen

    splits = sorted(table["split"].unique())
    colours = [PALETTE.get(split, PALETTE[UNKNOWN]) for split in splits]
    figure, axes = plt.subplots(2, 2, figsize=(11, 8), constrained_layout=True)

    def histogram(axis: plt.Axes, key: str, bins: np.ndarray, label: str) -> None:
        values = [table.loc[table["split"] == split, key].dropna().astype(float) for split in splits]
        axis.hist(values, bins=bins.tolist(), stacked=True, color=colours, label=splits, edgecolor="white")
        axis.set(xlabel=label, ylabel="samples")

    histogram(axes[0, 0], "angle", np.arange(-150, 151, 15), "turn in degrees, clockwise positive")
    axes[0, 0].set_xticks(np.arange(-150, 151, 30))
    axes[0, 0].legend(frameon=False)
    longest = 20 * np.ceil(table["distance"].max() / 20)
    histogram(axes[0, 1], "distance", np.arange(0, longest + 1, 20), "mean length of the drags in pixels")
    histogram(axes[1, 0], "handles", np.arange(0.5, table["handles"].max() + 1), "dragged pairs per sample")
    axes[1, 0].set_xticks(range(1, int(table["handles"].max()) + 1))
    counts = table.groupby(["category", "split"]).size().unstack(fill_value=0)
    counts = counts.loc[counts.sum(axis=1).sort_values().index]
    left = np.zeros(len(counts))
    for split in counts.columns:
        axes[1, 1].barh(counts.index, counts[split], left=left, color=PALETTE.get(split, PALETTE[UNKNOWN]))
        left += counts[split].to_numpy()
    axes[1, 1].set(xlabel="samples")
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=110)
    plt.close(figure)


def draw_sheet(dataset: Dataset, names: Sequence[str], path: Path) -> None:
    """The figures of the named samples, and the exact results where there are any, into one picture."""
    pictures, labels = [], []
    for name in names:
        sample = dataset[name]
        pair = [draw_sample(sample)] if sample.target is None else [draw_sample(sample), sample.target]
        pictures.append([_narrowed(picture) for picture in pair])
        labels.append(name)
    per_row = FIGURES_PER_ROW // max(len(pair) for pair in pictures)
    starts = range(0, len(pictures), per_row)
    rows = [[picture for pair in pictures[start : start + per_row] for picture in pair] for start in starts]
    sheet = contact_sheet(rows, ["   ·   ".join(labels[start : start + per_row]) for start in starts])
    write_image(path, sheet)


def _narrowed(picture: np.ndarray) -> np.ndarray:
    height = round(picture.shape[0] * FIGURE_WIDTH / picture.shape[1])
    return cv2.resize(picture, (FIGURE_WIDTH, height), interpolation=cv2.INTER_AREA)


def page_of(title: str, table: pd.DataFrame, sheets: Sequence[str]) -> str:
    """The page's Markdown."""
    by_split = table.assign(turn=table["angle"].abs(), drawn=table["pivot_given"], parts=table["kind"] == "part")
    overview = by_split.groupby("split").agg(
        samples=("name", "size"),
        pairs=("handles", "sum"),
        smallest_turn=("turn", "min"),
        median_turn=("turn", "median"),
        largest_turn=("turn", "max"),
        median_drag=("distance", "median"),
        with_pivot=("drawn", "sum"),
        parts=("parts", "sum"),
        exact=("exact", "sum"),
    )
    sections = [
        f"# {title}",
        "Written by `python -m tools.dataset.page`. Turns are in degrees, drags in pixels.",
        _markdown(overview.reset_index()),
        "![Turns, drags, handles and categories](statistics.png)",
        "## Difficulty and licences",
        _markdown(table.groupby(["split", "difficulty"]).size().unstack(fill_value=0).reset_index()),
        _markdown(table.groupby(["licence", "split"]).size().rename("samples").reset_index()),
        "## Figures",
        "The darkened part may not change. Handles are red, targets blue, the centre of the turn is a yellow ring.",
        *(f"![Samples]({sheet})" for sheet in sheets),
    ]
    return "\n\n".join(sections) + "\n"


def _markdown(table: pd.DataFrame) -> str:
    def cell(value: object) -> str:
        return f"{value:g}" if isinstance(value, float) else str(value)

    lines = [[str(column).replace("_", " ") for column in table.columns], ["---"] * len(table.columns)]
    lines += [[cell(value) for value in row] for row in table.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page; the exit status is 1 when the samples have problems."""
    parser = argparse.ArgumentParser(description="Write a page with statistics and figures of a data set.")
    parser.add_argument("root", type=Path, help="folder of the data set")
    parser.add_argument("--output", type=Path, default=Path("docs/data"), help="folder for the page")
    parser.add_argument("--format", default="auto", help="as data.format")
    options = parser.parse_args(arguments)
    try:
        dataset = open_dataset(options.root, options.format, split="any")
    except RotationBenchError as error:
        print(error)
        return 1
    table = table_of(dataset)
    draw_plots(table, options.output / "statistics.png")
    sheets = []
    for split, names in table.groupby("split")["name"]:
        sheets.append(f"samples-{split}.jpg")
        draw_sheet(dataset, list(names), options.output / sheets[-1])
    with whole_file(options.output / "README.md") as temporary:
        temporary.write_text(page_of(f"The samples in {options.root}", table, sheets), encoding="utf-8")
    print(f"{options.output}: wrote the page about {len(table)} samples.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
