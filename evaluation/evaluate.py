"""`task=evaluate`: measure the edits of a results folder, as far as that is not done, and write its table."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig
from tqdm import tqdm

from evaluation.report.collect import read_folders
from evaluation.report.tables import overall_tables, summarize, to_markdown
from evaluation.suite import MetricSuite
from rotationbench.config import BenchmarkConfig, build_core, validated
from rotationbench.datasets import chosen_names
from rotationbench.errors import ConfigError, ResultsError, RotationBenchError
from rotationbench.results import SAMPLES, TABLE_FILE, Edit, ResultStore, write_table

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
    store = ResultStore(folder.root)
    names = sorted({edit.sample_name for edit in folder.edits if edit.done})
    names = chosen_names(names, settings.samples, settings.limit)
    chosen = [edit for edit in folder.edits if edit.done and edit.sample_name in set(names)]
    core = None
    if suite.needs_core and chosen:
        core = build_core(settings.model, device=settings.device, dtype=settings.dtype, cache_dir=settings.cache_dir)
        _warn_of_other_weights(core.weights_hash, chosen)
    wanting = [edit for edit in chosen if settings.overwrite or not suite.is_current(edit, core)]
    # Edits of one sample and seed share the features of their source picture.
    wanting.sort(key=lambda edit: (edit.sample_name, edit.record["seed"]))
    failures = 0
    for edit in tqdm(wanting, desc="evaluate", unit="edit", disable=None):
        try:
            sample = store.sample(edit.sample_name)
            if edit.record["sample"]["digest"] != sample.digest:
                raise ConfigError(
                    f"{folder.root / SAMPLES / edit.sample_name}: expected what {edit.folder} was made from, got "
                    "another picture, mask, prompt or points."
                )
            suite.evaluate_edit(edit, sample, core, anew=settings.overwrite)
        except ResultsError:
            raise
        except (RotationBenchError, OSError, ValueError) as error:
            log.error("%s: not measured: %s", edit.sample_name, error)
            failures += 1
    write_table(store)
    (folder,) = read_folders([folder.root])
    variants = sorted(folder.table["variant"].unique())
    for summary in overall_tables(summarize(folder.table, variants), variants):
        print(to_markdown(summary))
    log.info("Metrics: %s", folder.root / TABLE_FILE)
    return 1 if failures else 0


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
