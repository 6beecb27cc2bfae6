"""`task=demo`: one small table that says what edits are worth, between no edit and the exact result, and the report."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from omegaconf import DictConfig

from evaluation.fitted_turn import fitted_turn
from evaluation.metrics.rotation import rotation_error
from evaluation.report.build import ReportConfig, write_report
from evaluation.suite import MetricSuite
from rotationbench.config import build_core, build_evaluator, validated
from rotationbench.datasets import open_dataset
from rotationbench.errors import DatasetError
from rotationbench.files import whole_file
from rotationbench.markdown import plain, row
from rotationbench.pictures import read_rgb
from rotationbench.results import EDITED_FILE, SAMPLES, TABLE_FILE, ResultStore

if TYPE_CHECKING:
    from rotationbench.diffusion.core import StableDiffusion

log = logging.getLogger(__name__)

EXACT = "exact result"
COLUMNS = {
    "turn": ("turn made of the wanted [%]", 0),
    "mean_distance": ("handles off target, MD [px]", 1),
    "psnr_target": ("likeness to the exact result, PSNR [dB]", 1),
    "background_psnr": ("background kept, PSNR [dB]", 1),
    "seconds": ("time per edit [s]", 0),
}
"""What the table shows, its headings and decimals."""
PARTS = {
    "in_domain": "Objects that the embedded model was trained on, at new places",
    "generated": "Rendered objects that the embedded model has never seen",
    "real": "Photographs, which are nothing like what the embedded model was trained on",
}
LEGEND = (
    "A good edit has made 100 % of the turn, leaves MD small, and has both PSNRs high. The first row is the truth, "
    "the row `nothing` the picture as it came: a method that is no better than it has done nothing, or harm. "
    "Means over samples; the turn is a median. Where an edit is too blurred to read its turn from correspondences, the "
    "turn is the one after which the source's object fits best, for objects on plain grounds, and 0 for others."
)


def run(config: DictConfig) -> int:
    """Print the table of `results_dir`, write it as `demo.md`, and write the report.

    Args:
        config: the composed configuration; see `ReportConfig`.

    Returns:
        The exit status, 0.

    Raises:
        RotationBenchError: when a setting or the results folder cannot be used.
    """
    settings = validated(ReportConfig, config)
    root = Path(settings.results_dir).expanduser()
    if not (root / TABLE_FILE).is_file():
        raise DatasetError([f"{root / TABLE_FILE}: expected the table of a benchmark run, found none."])
    suite: MetricSuite = build_evaluator(settings.evaluator, metrics=settings.metrics, device=settings.device)
    core = build_core(settings.model, device=settings.device, dtype=settings.dtype, cache_dir=settings.cache_dir)
    made = read_edits(ResultStore(root))
    text = tables_of(pd.concat([made, exact_results(root, suite, core, settings.seed)], ignore_index=True))
    with whole_file(root / "demo.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(text)
    report = write_report([root], settings.report)
    log.info("Contact sheet: %s", root / "contact_sheet.jpg")
    log.info("Report: %s", report)
    return 0


def read_edits(store: ResultStore) -> pd.DataFrame:
    """The edits that were made: `label`, one for all seeds, `sample`, `split`, `angle` in degrees, and the metrics."""
    table = pd.read_parquet(store.root / TABLE_FILE)
    done = with_fitted_turns(table[table["status"] == "done"], store)
    return done.assign(label=done["variant"])


def with_fitted_turns(edits: pd.DataFrame, store: ResultStore) -> pd.DataFrame:
    """`edits` with the error of a fitted turn where objects on plain grounds are too blurred for correspondences."""
    edits = edits.astype({"rotation_error": float})
    for index, edit in edits[edits["rotation_error"].isna() & (edits["split"] == "in_domain")].iterrows():
        picture = read_rgb(store.folder(edit["label"], edit["sample"]) / EDITED_FILE)
        turn = fitted_turn(store.sample(edit["sample"]), picture)
        edits.loc[index, "rotation_error"] = rotation_error(turn, edit["angle"])
    return edits


def exact_results(root: Path, suite: MetricSuite, core: StableDiffusion, seed: int) -> pd.DataFrame:
    """The exact results of the samples that have one, measured as if a method had made them."""
    rows = []
    for sample in open_dataset(root / SAMPLES, "rotationbench", split="any"):
        if sample.target is not None:
            named = {"label": EXACT, "sample": sample.name, "split": sample.meta.split, "angle": sample.meta.angle}
            rows.append(named | suite.evaluate(sample, sample.target, core, seed) | {"seconds": np.nan})
    return pd.DataFrame(rows)


def tables_of(edits: pd.DataFrame) -> str:
    """A Markdown table per split, the labels from the best turn to the worst."""
    shares = 1 - edits["rotation_error"].astype(float) / edits["angle"].abs()
    edits = edits.assign(turn=100 * shares.fillna(0.0).clip(lower=-1.0))
    sections = []
    for split, title in PARTS.items():
        part = edits[edits["split"] == split]
        if len(part):
            sections.append(f"### {title} ({part['sample'].nunique()} samples)\n\n{_table(part)}")
    return "\n\n".join([*sections, LEGEND]) + "\n"


def _table(part: pd.DataFrame) -> str:
    groups = part.groupby("label")
    columns = [name for name in COLUMNS if name in part]
    means = groups[columns].agg("mean")
    means["turn"] = groups["turn"].median()
    order = sorted(means.index, key=lambda label: (label != EXACT, -means.loc[label, "turn"]))
    lines = [["", *(COLUMNS[name][0] for name in columns)], ["---"] * (len(columns) + 1)]
    lines += [[plain(label), *(_cell(means.loc[label, name], COLUMNS[name][1]) for name in columns)] for label in order]
    return "\n".join(row(line) for line in lines)


def _cell(value: float, digits: int) -> str:
    if np.isnan(value):
        return "–"
    return "identical" if np.isinf(value) else f"{value:.{digits}f}"
