"""`task=evaluate`: measure the edits of a results folder, as far as that is not done, and write its table."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from tqdm import tqdm

from evaluation.measuring import Measured, MeasureWorker, Measuring
from evaluation.report.collect import edits_frame, require_edits, require_same_samples
from evaluation.report.tables import overall_tables, summarize, to_markdown
from rotationbench.config import BenchmarkConfig, build_engine, validated
from rotationbench.datasets import chosen_names
from rotationbench.engine import Crew, Outcome, Shard
from rotationbench.errors import RotationBenchError
from rotationbench.results import (
    EDITED_FILE,
    METRICS_FILE,
    SAMPLES,
    TABLE_FILE,
    Edit,
    MetricsFile,
    ResultStore,
    write_table,
)
from rotationbench.results.store import read_files
from rotationbench.worker import OF_RECORDS

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
    shard = None if settings.shard is None else Shard.parse(settings.shard)
    engine = build_engine(settings.engine)
    with engine.crew(partial(MeasureWorker, settings), settings.workers, settings.device) as crew:
        store = ResultStore(Path(settings.results_dir))
        edits = store.index.edits()
        require_edits(store.root, edits)
        require_same_samples({store.root: edits})
        names = sorted({edit.sample_name for edit in edits if edit.done})
        names = chosen_names(names, settings.samples, settings.limit)
        if shard is not None:
            names = shard.of(dict.fromkeys(names, 1.0))
        wanted = set(names)
        chosen = [edit for edit in edits if edit.done and edit.sample_name in wanted]
        failures = _measure(crew, store, chosen, overwrite=settings.overwrite) if chosen else 0
    write_table(store)
    table = edits_frame(store.index.edits())
    variants = sorted(table["variant"].unique())
    for summary in overall_tables(summarize(table, variants, groupings={}), variants):
        print(to_markdown(summary))
    log.info("Metrics: %s", store.root / TABLE_FILE)
    return 1 if failures else 0


def _measure(crew: Crew, store: ResultStore, chosen: Sequence[Edit], *, overwrite: bool) -> int:
    """Measure what is not measured; returns how many edits could not be."""
    _warn_of_other_weights(crew.ask("weights"), chosen)
    # Paths and settings of thousands of edits need not travel.
    edits = [replace(edit, record={key: edit.record.get(key) for key in OF_RECORDS}, metrics={}) for edit in chosen]
    measured = [b"".join(read_files(edit.folder, METRICS_FILE).values()) if crew.remote else None for edit in edits]
    current = [False] * len(edits) if overwrite else crew.ask("current", edits, measured)
    wanting = [edit for edit, is_current in zip(edits, current, strict=True) if not is_current]
    wanting.sort(key=_shared)
    groups = [list(group) for _, group in itertools.groupby(wanting, _shared)]
    measured_now = 0
    with tqdm(total=len(wanting), desc="evaluate", unit="edit", disable=None) as bar:
        for outcome in crew.work(_orders(store, groups, remote=crew.remote), len(groups)):
            measured_now += _take(outcome)
            bar.update(len(outcome.item.edits))
    return len(wanting) - measured_now


def _shared(edit: Edit) -> tuple[str, int]:
    """What edits have in common that share the features of their source picture."""
    return edit.sample_name, edit.record["seed"]


def _orders(store: ResultStore, groups: Sequence[list[Edit]], *, remote: bool) -> Iterator[Measuring]:
    for group in groups:
        try:
            sample = store.sample(group[0].sample_name)
        except RotationBenchError as error:
            for edit in group:
                log.error("%s: not measured: %s", edit.sample_name, error)
            continue
        edits = [edit for edit in group if edit.record["sample"]["digest"] == sample.digest]
        for edit in group:
            if edit not in edits:
                wanted = f"expected what {edit.folder} was made from, got another picture, mask, prompt or points"
                log.error(
                    "%s: not measured: %s: %s.", edit.sample_name, store.folder(SAMPLES, edit.sample_name), wanted
                )
        if edits:
            yield Measuring(sample, edits, [read_files(edit.folder) if remote else {} for edit in edits])


def _take(outcome: Outcome) -> int:
    """Put what was measured beside the edits; returns how many were measured."""
    item: Measuring = outcome.item
    dead = f"each process that was at it ended: {outcome.death}."
    found = [Measured(dead)] * len(item.edits) if outcome.death is not None else outcome.result
    for edit, measured in zip(item.edits, found, strict=True):
        if measured.fault is not None:
            log.error("%s: not measured: %s", edit.sample_name, measured.fault)
        elif measured.values:
            edited = edit.record["files"][EDITED_FILE]
            file = MetricsFile.about(edit.folder, edited, item.sample.full_digest)
            file.add(measured.values, measured.measured_by)
    return sum(measured.fault is None for measured in found)


def _warn_of_other_weights(weights: str | None, edits: Sequence[Edit]) -> None:
    if weights is None:
        return
    # Edits that were made without a model have no weights.
    others: set[Any] = {edit.record["weights_hash"] for edit in edits} - {weights, None}
    if others:
        log.warning(
            "The features of the mean distances come from the model with weights %s, but edits were made with %s. Name "
            "their model (model=…) to measure with it.",
            weights[:12],
            ", ".join(sorted(str(other)[:12] for other in others)),
        )
