"""`task=evaluate`: measure the edits of a results folder, as far as that is not done, and write `metrics.parquet`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from hydra.utils import instantiate
from omegaconf import DictConfig
from tqdm import tqdm

from evaluation.report.collect import edits_frame, read_folders
from evaluation.report.tables import family_tables, summarize, to_markdown
from evaluation.suite import METRICS_FILE, MetricSuite
from rotationbench.benchmark import chosen_names
from rotationbench.config import BenchmarkConfig, build_core, validated
from rotationbench.datasets import open_dataset
from rotationbench.errors import ConfigError, RotationBenchError
from rotationbench.files import whole_file
from rotationbench.results import SAMPLES, Edit, ResultStore

log = logging.getLogger(__name__)


def run(config: DictConfig) -> int:
    """Measure every edit of `results_dir` with the configured metrics; values that still count are left alone.

    Nothing is read but the results folder, and the diffusion model where a metric needs one.

    Args:
        config: the composed configuration; see `BenchmarkConfig`. `samples` and `limit` choose among the samples, and
            `overwrite` measures again what is there.

    Returns:
        The exit status: 0 when every edit was measured, 1 when one could not be.

    Raises:
        RotationBenchError: when a setting, the results folder or the checkpoint cannot be used.
    """
    settings = validated(BenchmarkConfig, config)
    suite: MetricSuite = instantiate(settings.evaluator, metrics=settings.metrics, device=settings.device)
    (folder,) = read_folders([Path(settings.results_dir)])
    names = sorted({edit.record["sample"]["name"] for edit in folder.edits if edit.done})
    names = chosen_names(names, settings.samples, settings.limit)
    jobs = _jobs([edit for edit in folder.edits if edit.done and edit.record["sample"]["name"] in names])
    if settings.overwrite:
        for edit in (edit for edits in jobs.values() for edit in edits):
            (edit.folder / METRICS_FILE).unlink(missing_ok=True)
    core = None
    if suite.needs_core and jobs:
        core = build_core(settings.model, device=settings.device, dtype=settings.dtype, cache_dir=settings.cache_dir)
        _warn_of_other_weights(core.weights_hash, [edit for edits in jobs.values() for edit in edits])
    samples = open_dataset(folder.root / SAMPLES, "rotationbench", split="any")
    failures = 0
    for (name, seed), edits in tqdm(jobs.items(), desc="evaluate", unit="sample", disable=None):
        try:
            sample = samples[name]
            strangers = [edit for edit in edits if edit.record["sample"]["digest"] != sample.digest]
            if strangers:
                raise ConfigError(
                    f"{folder.root / SAMPLES / name}: expected what {strangers[0].folder} was made from, got "
                    "another picture, mask, prompt or points."
                )
            suite.update([edit.folder for edit in edits], sample, core, seed)
        except (RotationBenchError, OSError, ValueError) as error:
            log.error("%s: not measured: %s", name, error)
            failures += len(edits)
    table = write_metrics(folder.root)
    for summary in family_tables(
        summarize(table, sorted(table["variant"].unique())), sorted(table["variant"].unique())
    ):
        print(to_markdown(summary))
    log.info("Metrics: %s", folder.root / "metrics.parquet")
    return 1 if failures else 0


def write_metrics(root: Path) -> pd.DataFrame:
    """Write `metrics.parquet` from what lies in the edits' folders; returns the table, see `edits_frame`."""
    table = edits_frame(list(ResultStore(root).edits()))
    with whole_file(root / "metrics.parquet") as temporary:
        table.to_parquet(temporary, index=False)
    return table


def _jobs(edits: Sequence[Edit]) -> dict[tuple[str, int], list[Edit]]:
    """The edits by sample and seed: those of one job share the features of their source picture."""
    jobs: dict[tuple[str, int], list[Edit]] = {}
    for edit in edits:
        jobs.setdefault((edit.record["sample"]["name"], edit.record["seed"]), []).append(edit)
    return dict(sorted(jobs.items()))


def _warn_of_other_weights(weights: str, edits: Sequence[Edit]) -> None:
    # Edits that were made without a model have no weights.
    others: set[Any] = {edit.record["weights_hash"] for edit in edits} - {weights, None}
    if others:
        log.warning(
            "The features of the mean distances come from the model with weights %s, but edits were made with %s. Name "
            "their model (model=…) to measure with it.",
            weights[:12],
            ", ".join(sorted(str(other)[:12] for other in others)),
        )
