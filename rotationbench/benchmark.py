"""`task=benchmark`: one method over the samples of a data set, each edit recorded with what is needed to redo it."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import filelock
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from rotationbench.config import BenchmarkConfig, build_core, build_method, resolve_path, validated
from rotationbench.datasets import Dataset, chosen_names, open_dataset
from rotationbench.diffusion.core import StableDiffusion
from rotationbench.editing import Editor
from rotationbench.errors import ConfigError, DatasetError, LabelError, ResultsError, RotationBenchError
from rotationbench.files import folder_state
from rotationbench.labels import label_of, swept_settings, variant_name
from rotationbench.names import checked_name, folded
from rotationbench.results import (
    SAMPLES,
    SCHEMA,
    Edit,
    ResultStore,
    changed_settings,
    changes,
    fingerprint,
    variant_of,
    write_table,
)
from rotationbench.results.record import environment, failed_record, sample_record
from rotationbench.results.sheet import draw_sheet
from rotationbench.results.table import summary
from rotationbench.sample import DragSample

log = logging.getLogger(__name__)

SHOWN_METRICS = ("mean_distance", "image_fidelity", "st_lpips", "background_psnr")
RESERVED_LABELS = (SAMPLES, "report", "table1", "study", "edits.csv", "edits.parquet")
"""What else lies in a results folder beside the labels' folders."""


class Evaluator(Protocol):
    """Measures edits; `evaluator._target_` names the class that does.

    Attributes:
        needs_core: whether a model must be handed over.
    """

    needs_core: bool

    def is_current(self, edit: Edit, core: StableDiffusion | None) -> bool:
        """Whether all that can be measured of an edit lies beside it, judged without reading a picture."""
        ...

    def evaluate_edit(self, edit: Edit, sample: DragSample, core: StableDiffusion | None) -> dict[str, float | None]:
        """Measure what is not yet measured of an edit on disk, keep it beside the edit, and return all values."""
        ...


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
    editor = Editor(build_method(settings.method), settings)
    evaluator: Evaluator = instantiate(settings.evaluator, metrics=settings.metrics, device=settings.device)
    data = settings.data
    dataset = open_dataset(
        Path(resolve_path(data.root)), data.format, split=data.split, subset=data.subset, check=False
    )
    names = chosen_names(dataset.names, settings.samples, settings.limit)
    benchmark = Benchmark(settings, OmegaConf.to_container(config, resolve=True), dataset, editor, evaluator)  # type: ignore[arg-type]
    benchmark.refuse_other_settings()
    benchmark.find_untouched(names)
    new = [name for name in names if name not in benchmark.untouched]
    if problems := dataset.problems(new, editor.size_fault):
        raise DatasetError(problems)
    benchmark.store.make()
    if editor.needs_core or evaluator.needs_core:
        benchmark.core = build_core(
            settings.model, device=settings.device, dtype=settings.dtype, cache_dir=settings.cache_dir
        )
        editor.core = benchmark.core if editor.needs_core else None
        benchmark.refuse_other_settings()
    log.info(
        "%s on %d of %d samples of %s, %s, into %s",
        benchmark.label,
        len(names),
        len(dataset.names),
        data.root,
        "no model" if benchmark.core is None else f"model {settings.model.name} on {benchmark.core.device}",
        benchmark.store.root / benchmark.label,
    )
    try:
        for name in tqdm(names, desc=benchmark.label, unit="edit", disable=None):
            benchmark.process(name)
    except KeyboardInterrupt:
        write_table(benchmark.store)
        raise
    table = write_table(benchmark.store)
    for sheet in draw_sheet(benchmark.store, table, rows=settings.sheet_rows, pages=settings.sheet_pages):
        log.info("Contact sheet: %s", sheet)
    print(summary(table, SHOWN_METRICS))
    log.info("Table: %s", benchmark.store.root / "edits.csv")
    return 1 if benchmark.failures else 0


class Benchmark:
    """One method, filling one results folder.

    Args:
        settings: the checked settings.
        config: the same as the user composed it, for the records.
        dataset: the samples.
        editor: makes the edits.
        evaluator: measures the edits.

    Attributes:
        core: the diffusion model that edits are measured with; None when the evaluator needs none.
        untouched: by sample, the edits that were there at the start of samples whose files are as they were.
        made: how many edits were made.
        failures: names of the samples that could not be edited or measured.

    Raises:
        ConfigError: when the label cannot be a folder's name.
        ResultsError: when the results folder cannot be used.
    """

    def __init__(
        self,
        settings: BenchmarkConfig,
        config: dict[str, Any],
        dataset: Dataset,
        editor: Editor,
        evaluator: Evaluator,
    ) -> None:
        self.settings, self.config, self.dataset = settings, config, dataset
        self.editor, self.evaluator = editor, evaluator
        self.core: StableDiffusion | None = None
        self.untouched: dict[str, Edit] = {}
        self.made = 0
        self.failures: list[str] = []
        variant = settings.label or variant_name(editor.name, swept_settings())
        self.variant = checked_name(variant, "label", RESERVED_LABELS)
        self.label = checked_name(label_of(self.variant, settings.seed), "label", RESERVED_LABELS)
        self.store = ResultStore(Path(settings.results_dir))
        others = [folder.name for folder in self.store.root.glob("*") if folder.name != self.label]
        if clash := next((name for name in others if folded(name) == folded(self.label)), None):
            raise ConfigError(f"label: expected a name of its own, got {self.label!r} beside {clash!r}.")
        self.store.clean()

    def refuse_other_settings(self) -> None:
        """Make sure that no edit of other settings is filed under the label, with any seed, unless it may be replaced.

        Raises:
            LabelError: when one is; it names the settings.
        """
        if self.settings.overwrite:
            return
        identity = self.editor.identity({"digest": None})
        for edit in self.store.edits_of(self.variant):
            if self.label == edit.label or self.variant == variant_of(edit.record):
                self._refuse_other_settings(edit, identity)

    def _refuse_other_settings(self, edit: Edit, identity: dict[str, Any]) -> None:
        if edit.record["status"] != "done":
            return
        changed = changed_settings(edit.record, identity, self.config.get("model", {}))
        if edit.label == self.label and edit.record["seed"] != self.settings.seed:
            changed.append(f"seed: {edit.record['seed']} → {self.settings.seed}")
        if changed:
            raise LabelError(
                f"label: expected edits of one setting under {self.variant!r}, got others in {edit.folder} "
                f"({'; '.join(changed)}); use another label, or overwrite=true to replace them."
            )

    def find_untouched(self, names: Sequence[str]) -> None:
        """Find out for which samples there is an edit and no file has been touched since; no picture is read."""
        for name in names:
            edit = self.store.glance(self.label, name)
            if edit is None or not edit.done or not self.store.folder(SAMPLES, name).is_dir():
                continue
            state = edit.record["sample"].get("state")
            if state is not None and state == folder_state(self.dataset.path(name)):
                self.untouched[name] = edit

    def process(self, name: str) -> None:
        """Make and measure the edit of one sample, unless that is done; a failure is recorded and does not raise.

        Raises:
            LabelError: when another run has filed an edit of other settings there meanwhile.
            ResultsError: when the disk is full or cannot be written to.
        """
        edit = self._done_before(name)
        if edit is not None and self.evaluator.is_current(edit, self.core):
            return
        lock = self.store.lock(self.label, name)
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            log.info("%s: another run is at it; waiting for its result", name)
            lock.acquire()
        try:
            if edit is not None:
                self._measure(edit, self.store.sample(name))
                return
            edit, sample = self._edit(name)
            if edit is not None and sample is not None:
                self._measure(edit, sample)
        finally:
            lock.release()

    def _done_before(self, name: str) -> Edit | None:
        """The finished edit of a sample whose files, settings, model and method are what they were; nothing is read."""
        edit = None if self.settings.overwrite else self.untouched.get(name)
        if edit is None or edit.record["fingerprint"] != fingerprint(self.editor.identity(edit.record["sample"])):
            return None
        log.info("%s: done before", name)
        return edit

    def _edit(self, name: str) -> tuple[Edit | None, DragSample | None]:
        started = datetime.now(UTC)
        state = folder_state(self.dataset.path(name))
        sample: DragSample | None = None
        identity: dict[str, Any] = {}
        try:
            sample = self.dataset[name]
            about = sample_record(name, sample, state)
            identity = self.editor.identity(about)
            before = self.store.read(self.label, name)
            if before is not None and before.record["status"] == "done":
                if before.record["fingerprint"] == fingerprint(identity) and not self.settings.overwrite:
                    return self._done_but_touched(before, sample, about), sample
                if not self.settings.overwrite:
                    # Another run may have put it there meanwhile.
                    self._refuse_other_settings(before, identity)
                changed = changes(before.record["identity"], identity)
                log.info("%s: made again (%s)", name, "; ".join(changed) or "overwrite=true")
            self.store.keep_sample(sample, replace=self.settings.overwrite)
            picture, made, arrays = self.editor.edit(sample)
            record = self._record(about, identity, started) | made
            edit = self.store.save(record, image=picture, trace=arrays if self.settings.save_latents else None)
        except (ResultsError, LabelError):
            raise
        except Exception as error:
            # Whatever it is, one sample must not end the run.
            self._fail(name, sample_record(name, sample, state), identity, started, error)
            return None, None
        self.made += 1
        left = record["distance_left"][-1]
        log.info("%s: %d steps, %.1f s, %.1f px left", name, record["steps"], record["seconds"], left)
        if record["unchanged"]:
            log.warning("%s: the edit equals its source", name)
        return edit, sample

    def _done_but_touched(self, edit: Edit, sample: DragSample, about: dict[str, Any]) -> Edit:
        """Let the record and the kept sample follow a data set in which something was corrected that no edit sees."""
        name = edit.sample_name
        written = self.store.keep_sample(sample, replace=True)
        if written or edit.record["sample"].get("full_digest") != sample.full_digest:
            log.info("%s: done before; what is known about the sample has changed and was taken over", name)
        else:
            log.info("%s: done before", name)
        return self.store.restate(edit, {"sample": about, "remake": None})

    def _measure(self, edit: Edit, sample: DragSample) -> None:
        try:
            values = self.evaluator.evaluate_edit(edit, sample, self.core)
        except ResultsError:
            raise
        except Exception as error:
            # The edit is safe on disk, and one sample must not end the run.
            expected = isinstance(error, RotationBenchError)
            log.error("%s: the edit is kept, but measuring it failed: %s", sample.name, error, exc_info=not expected)
            self.failures.append(sample.name)
            return
        shown = ", ".join(f"{key} {value:.3g}" for key in SHOWN_METRICS if (value := values.get(key)) is not None)
        if shown:
            log.info("%s: %s", sample.name, shown)

    def _fail(
        self, name: str, about: dict[str, Any], identity: dict[str, Any], started: datetime, error: Exception
    ) -> None:
        self.failures.append(name)
        expected = isinstance(error, RotationBenchError)
        log.error("%s: failed: %s: %s", name, type(error).__name__, error, exc_info=not expected)
        failure = {
            "type": type(error).__name__,
            "message": str(error),
            "traceback": "".join(traceback.format_exception(error)),
        }
        before = self.store.glance(self.label, name)
        if before is not None and before.record["status"] == "done":
            self.store.restate(before, {"remake": failure | {"identity": identity}})
            log.warning("%s: the earlier edit is kept, and counts as failed until it is made with these settings", name)
        else:
            self.store.save(self._record(about, identity, started) | failed_record(failure))

    def _record(self, about: dict[str, Any], identity: dict[str, Any], started: datetime) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            **self.editor.record(),
            "label": self.label,
            "variant": self.variant,
            "seed": self.settings.seed,
            "sample": about,
            "fingerprint": fingerprint(identity),
            "identity": identity,
            "config": self.config,
            **environment(),
            "started": started.isoformat(),
            "finished": datetime.now(UTC).isoformat(),
        }
