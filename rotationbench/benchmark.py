"""`task=benchmark`: one method over the samples of a data set, each edit recorded with what is needed to redo it."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import filelock
from filelock import BaseFileLock
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from rotationbench.config import BenchmarkConfig, build_engine, build_method, resolve_path, validated
from rotationbench.datasets import Dataset, chosen_names, open_dataset
from rotationbench.editing import Editor
from rotationbench.engine import Crew, Outcome, Setup, Shard, long_first
from rotationbench.errors import ConfigError, DatasetError, EngineError
from rotationbench.files import folder_state
from rotationbench.labels import label_of, swept_settings, variant_name
from rotationbench.locks import use_leases
from rotationbench.names import checked_name, folded
from rotationbench.results import METRICS_FILE, SAMPLES, Edit, ResultStore, variant_of
from rotationbench.results.locks import LOCKS
from rotationbench.results.record import sample_record
from rotationbench.results.sheet import draw_sheet
from rotationbench.results.store import read_files
from rotationbench.results.table import Tables, summary
from rotationbench.sample import DragSample
from rotationbench.worker import OF_RECORDS, SHOWN_METRICS, Clerk, EditWorker, Order, Report

log = logging.getLogger(__name__)

RESERVED_LABELS = (SAMPLES, "report", "table1", "study", "edits.csv", "edits.parquet")
"""What else lies in a results folder beside the labels' folders."""


def run(config: DictConfig) -> int:
    """Edit every chosen sample with the configured method, measure the edits, and write the table.

    Args:
        config: the composed configuration; see `BenchmarkConfig`.

    Returns:
        The exit status: 0 when every edit was made and measured, 1 when one was not.

    Raises:
        RotationBenchError: when a setting, the data set, the checkpoint or the results folder cannot be used.
    """
    settings = validated(BenchmarkConfig, config)
    shard = None if settings.shard is None else Shard.parse(settings.shard)
    engine = build_engine(settings.engine)
    plain = OmegaConf.to_container(config, resolve=True)
    benchmark = Benchmark(settings, plain, Editor(build_method(settings.method), settings))  # type: ignore[arg-type]
    tables = Tables(benchmark.store)
    try:
        with engine.crew(benchmark.setup, settings.workers, settings.device) as crew:
            names = benchmark.open(shard)
            benchmark.work(crew, names, tables)
    except KeyboardInterrupt:
        tables.write()
        raise
    finally:
        benchmark.release()
    table = tables.write()
    for sheet in draw_sheet(benchmark.store, table, rows=settings.sheet_rows, pages=settings.sheet_pages):
        log.info("Contact sheet: %s", sheet)
    print(summary(table, SHOWN_METRICS))
    log.info("Table: %s", benchmark.store.root / "edits.csv")
    return 1 if benchmark.failures else 0


class Benchmark:
    """One method, filling one results folder: what is to be done, and what becomes of it. It alone writes there.

    Args:
        settings: the checked settings.
        config: the same as the user composed it, for the records.
        editor: the method, without a model.

    Attributes:
        dataset: the samples, once they have been opened.
        untouched: by sample, the edits that were there at the start of samples whose files are as they were.
        costs: by sample, what its edit is expected to cost, as far as samples have been read.
        made: how many edits were made.
        finished: how many samples are done with, those apart that were done before.
        failures: names of the samples that could not be edited or measured.

    Raises:
        ConfigError: when the label cannot be a folder's name.
        ResultsError: when the results folder cannot be used.
    """

    dataset: Dataset

    def __init__(self, settings: BenchmarkConfig, config: dict[str, Any], editor: Editor) -> None:
        self.settings, self.config, self.editor = settings, config, editor
        self.untouched: dict[str, Edit] = {}
        self.costs: dict[str, float] = {}
        self.made = self.finished = 0
        self.failures: list[str] = []
        variant = settings.label or variant_name(editor.name, swept_settings())
        self.variant = checked_name(variant, "label", RESERVED_LABELS)
        self.label = checked_name(label_of(self.variant, settings.seed), "label", RESERVED_LABELS)
        self.store = ResultStore(Path(settings.results_dir))
        others = [folder.name for folder in self.store.root.glob("*") if folder.name != self.label]
        if clash := next((name for name in others if folded(name) == folded(self.label)), None):
            raise ConfigError(f"label: expected a name of its own, got {self.label!r} beside {clash!r}.")
        self.store.clean()
        self.clerk = Clerk(editor, config, self.label, self.variant)
        self._locks: dict[str, BaseFileLock] = {}

    @property
    def setup(self) -> Setup:
        """Makes the workers of this run."""
        return partial(EditWorker, self.settings, self.config, self.label, self.variant, self.store.root)

    def open(self, shard: Shard | None) -> list[str]:
        """Open the data set and see that samples which need an edit can have one, and that the results can be written.

        Returns:
            The names of the chosen samples, those of the shard where there is one.

        Raises:
            DatasetError: with everything that is wrong with the data.
            LabelError: when edits of other settings are filed under the label.
            ResultsError: when the results folder cannot be written to.
        """
        edits = list(self.store.edits_of(self.variant))
        self._refuse_other_settings(edits, self.editor.identity({"digest": None}))
        data = self.settings.data
        root = Path(resolve_path(data.root))
        self.dataset = open_dataset(root, data.format, split=data.split, subset=data.subset, check=False)
        names = chosen_names(self.dataset.names, self.settings.samples, self.settings.limit)
        if shard is not None:
            # Which samples are whose must not depend on what others have done by then: all of them are read.
            self._check(names)
            names = shard.of({name: self.costs[name] for name in names})
        self._find_untouched(names, {edit.sample_name: edit for edit in edits if edit.label == self.label})
        self._check([name for name in names if name not in self.untouched and name not in self.costs])
        self.store.make()
        if self.settings.locks == "lease":
            use_leases(self.store.root / LOCKS)
        return names

    def _refuse_other_settings(self, edits: Iterable[Edit], identity: Mapping[str, Any]) -> None:
        """Make sure that no edit of other settings is filed under the label, with any seed, unless it may be replaced.

        Args:
            edits: those that may be filed under it; see `ResultStore.edits_of`.
            identity: what decides this run's edits, as far as it is known.

        Raises:
            LabelError: when one is; it names the settings.
        """
        self._identity = identity
        if not self.settings.overwrite:
            for edit in edits:
                if self.label == edit.label or self.variant == variant_of(edit.record):
                    self.clerk.refuse(edit, identity)

    def _check(self, names: Sequence[str]) -> None:
        def fault(sample: DragSample) -> str | None:
            self.costs[sample.name] = self.editor.expected_cost(sample)
            return self.editor.size_fault(sample)

        if problems := self.dataset.problems(names, fault):
            raise DatasetError(problems)

    def _find_untouched(self, names: Sequence[str], edits: Mapping[str, Edit]) -> None:
        """Find out for which samples there is an edit and no file has been touched since; no picture is read."""
        for name in names:
            edit = edits.get(name)
            if edit is None or not edit.done or not self.store.folder(SAMPLES, name).is_dir():
                continue
            state = edit.record["sample"].get("state")
            if state is not None and state == folder_state(self.dataset.path(name)):
                # Paths and settings of thousands of edits would fill the memory.
                record = {key: edit.record.get(key) for key in OF_RECORDS}
                self.untouched[name] = Edit(edit.folder, record)

    def work(self, crew: Crew, names: Sequence[str], tables: Tables) -> None:
        """Let the workers make and measure what is not done; the tables are extended from time to time."""
        # Others may have put edits there meanwhile.
        self._refuse_other_settings(self.store.edits_of(self.variant), crew.ask("identity"))
        edits = list(self.untouched.values())
        measured = [
            read_files(edit.folder, METRICS_FILE).get(METRICS_FILE, b"") if crew.remote else None for edit in edits
        ]
        log.info(
            "%s on %d of %d samples of %s, %s, into %s",
            self.label,
            len(names),
            len(self.dataset.names),
            self.settings.data.root,
            crew.ask("place"),
            self.store.root / self.label,
        )
        current = crew.ask("current", edits, measured) if edits else []
        done = {edit.sample_name for edit, is_done in zip(edits, current, strict=True) if is_done}
        for name in sorted(done):
            log.info("%s: done before", name)
        wanting = [name for name in names if name not in done]
        if crew.remote:
            wanting = long_first(wanting, self.costs)
        with tqdm(total=len(names), initial=len(done), desc=self.label, unit="edit", disable=None) as bar:
            for outcome in crew.work(self._orders(wanting, handed_over=crew.remote), len(wanting)):
                self._take(outcome)
                bar.update(len(done) + self.finished - bar.n)
                tables.extend()

    def _orders(self, names: Sequence[str], *, handed_over: bool) -> Iterator[Order | None]:
        """What is to be done, one order after another, each under its lock; None while other runs hold the rest.

        A sample that another run holds is passed over, and looked at again at the end.
        """
        held: deque[tuple[str, BaseFileLock]] = deque()
        for name in names:
            lock = self.store.lock(self.label, name)
            if not self._locked(name, lock):
                log.info("%s: another run is at it; looked at again at the end", name)
                held.append((name, lock))
            elif order := self._order(name, handed_over):
                yield order
        while held:
            for _ in range(len(held)):
                name, lock = held.popleft()
                if not self._locked(name, lock):
                    held.append((name, lock))
                elif order := self._order(name, handed_over):
                    yield order
            if held:
                yield None

    def _locked(self, name: str, lock: BaseFileLock) -> bool:
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            return False
        self._locks[name] = lock
        return True

    def _order(self, name: str, handed_over: bool) -> Order | None:
        """What is to be done with a sample; None when it cannot be read, which is recorded."""
        started = datetime.now(UTC)
        state = folder_state(self.dataset.path(name))
        try:
            sample = self.dataset[name]
        except Exception as error:
            # Whatever it is, one sample must not end the run.
            self.clerk.failed(self.store, sample_record(name, None, state), {}, started, error)
            self._finish(name, failed=True)
            return None
        before = self.store.glance(self.label, name)
        if before is not None and not self.settings.overwrite:
            # Another run may have put it there meanwhile.
            self.clerk.refuse(before, self._identity)
        digest = None if before is None or before.record["status"] != "done" else before.record["sample"].get("digest")
        rewritten, refused = False, tuple[str, ...]()
        try:
            # The copy may have been replaced for another label's edits; this label's were made from this very sample.
            replace = self.settings.overwrite or digest == sample.digest
            rewritten = self.store.keep_sample(sample, replace=replace)
        except DatasetError as error:
            refused = error.problems
        files = read_files(before.folder) if handed_over and before is not None else {}
        return Order(name, sample, state, rewritten, refused, files)

    def _take(self, outcome: Outcome) -> None:
        """Put what was made in its place, and let others have the sample."""
        order: Order = outcome.item
        if outcome.death is None:
            report: Report = outcome.result
        else:
            about = sample_record(order.name, order.sample, order.state)
            error = EngineError(f"each process that was at it ended: {outcome.death}.")
            self.clerk.failed(self.store, about, {}, datetime.now(UTC), error)
            report = Report(failed=True)
        if report.files:
            self.store.put(self.label, order.name, report.files, replace=report.replaced)
        self.made += report.made
        self._finish(order.name, failed=report.failed)

    def _finish(self, name: str, *, failed: bool) -> None:
        if failed:
            self.failures.append(name)
        self.finished += 1
        self._locks.pop(name).release()

    def release(self) -> None:
        """Let other runs have what this one holds."""
        while self._locks:
            self._locks.popitem()[1].release()
