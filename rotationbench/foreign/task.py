"""`task=import`: edits that were made elsewhere become edits like any others: records, metrics, table, report."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import MISSING, DictConfig, OmegaConf
from tqdm import tqdm

from rotationbench.benchmark import RESERVED_LABELS
from rotationbench.config import BenchmarkConfig, build_core, build_evaluator, resolve_path, validated
from rotationbench.datasets import Dataset, chosen_names, open_dataset
from rotationbench.datasets.reading import LARGEST_TEXT_BYTES, text_fault
from rotationbench.errors import ConfigError, DatasetError, LabelError, ResultsError, RotationBenchError
from rotationbench.files import folder_state
from rotationbench.foreign.edits import ForeignEdits, ForeignPicture, find_edits
from rotationbench.foreign.files import open_files
from rotationbench.labels import label_of
from rotationbench.names import checked_name, folded
from rotationbench.pictures import dimensions
from rotationbench.results import SCHEMA, Edit, ResultStore, fingerprint, variant_of, write_table
from rotationbench.results.record import environment, failed_record, sample_record, unknown_cost
from rotationbench.results.sheet import draw_sheet
from rotationbench.results.table import summary
from rotationbench.sample import DragSample, resize_image
from rotationbench.worker import SHOWN_METRICS, Evaluator

if TYPE_CHECKING:
    from rotationbench.diffusion.core import StableDiffusion

log = logging.getLogger(__name__)

METHOD = "foreign"
VERSION = 1
SHOWN_NAMES = 200
SHOWN_CLASHES = 5


@dataclass
class ImportConfig(BenchmarkConfig):
    """Everything `task=import` is told.

    Args:
        edits: a folder or a zip archive; see `find_edits`.
        note: what records say about where the edits come from.
    """

    edits: str = MISSING
    note: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method:
            raise ConfigError(f"method: expected none with task=import, got {self.method.get('name', 'one')!r}.")
        if self.label is None:
            raise ConfigError("label: expected a name under which the edits are filed, got none.")
        if self.note is not None and (fault := text_fault(self.note, LARGEST_TEXT_BYTES)):
            raise ConfigError(f"note: expected {fault[0]}, got {fault[1]}.")


def run(config: DictConfig) -> int:
    """File the edits that `edits` names under `label`, measure them, and write the table.

    Samples without an edit are recorded as not made, unless an earlier import filed one. Nothing is written when
    anything is wrong with what came.

    Args:
        config: the composed configuration; see `ImportConfig`.

    Returns:
        The exit status: 0 when every chosen sample has an edit and each was measured, 1 otherwise.

    Raises:
        RotationBenchError: when a setting, the data set, the edits, the checkpoint or the results folder cannot be
            used, or the label already holds other edits and `overwrite` is not set.
    """
    settings = validated(ImportConfig, config)
    evaluator: Evaluator = build_evaluator(settings.evaluator, metrics=settings.metrics, device=settings.device)
    data = settings.data
    dataset = open_dataset(
        Path(resolve_path(data.root)), data.format, split=data.split, subset=data.subset, check=False
    )
    names = chosen_names(dataset.names, settings.samples, settings.limit)
    with open_files(Path(resolve_path(settings.edits))) as files:
        edits = find_edits(files, dataset.names)
        importer = Importer(settings, OmegaConf.to_container(config, resolve=True), dataset, edits, evaluator)  # type: ignore[arg-type]
        given = [name for name in names if name in edits.pictures]
        if problems := [*edits.problems(given), *dataset.problems(names)]:
            raise DatasetError(problems)
        importer.refuse_clashes(given)
        importer.store.make()
        if evaluator.needs_core:
            importer.core = build_core(
                settings.model, device=settings.device, dtype=settings.dtype, cache_dir=settings.cache_dir
            )
        try:
            for name in tqdm([*given, *importer.missing(names)], desc=importer.label, unit="edit", disable=None):
                importer.process(name)
        except KeyboardInterrupt:
            write_table(importer.store)
            raise
    table = write_table(importer.store)
    draw_sheet(importer.store, table, rows=settings.sheet_rows, pages=settings.sheet_pages)
    print(summary(table, SHOWN_METRICS))
    log.info("%d of %d edits are new. Table: %s", importer.filed, len(given), importer.store.root / "edits.csv")
    return 1 if importer.failures else 0


class Importer:
    """Files foreign edits under one label of one results folder.

    Args:
        settings: the checked settings.
        config: the same as the user composed it, for the records.
        dataset: the samples.
        edits: what came.
        evaluator: measures the edits.

    Attributes:
        label: what the edits are filed under: the setting, with the seed behind it when that is not 0.
        core: the diffusion model that edits are measured with; None when the evaluator needs none.
        filed: how many edits were written.
        failures: names of the samples that have no edit, or one that could not be measured.

    Raises:
        ConfigError: when the label cannot be a folder's name, or the edits lie where they would be filed.
        ResultsError: when the results folder cannot be used.
    """

    def __init__(
        self,
        settings: ImportConfig,
        config: dict[str, Any],
        dataset: Dataset,
        edits: ForeignEdits,
        evaluator: Evaluator,
    ) -> None:
        self.settings, self.config, self.dataset = settings, config, dataset
        self.edits, self.evaluator = edits, evaluator
        self.core: StableDiffusion | None = None
        self.filed = 0
        self.failures: list[str] = []
        self.variant = checked_name(settings.label, "label", RESERVED_LABELS)
        self.label = checked_name(label_of(self.variant, settings.seed), "label", RESERVED_LABELS)
        self.store = ResultStore(Path(settings.results_dir))
        others = [folder.name for folder in self.store.root.glob("*") if folder.name != self.label]
        if clash := next((name for name in others if folded(name) == folded(self.label)), None):
            raise ConfigError(f"label: expected a name of its own, got {self.label!r} beside {clash!r}.")
        place = (self.store.root / self.label).resolve()
        if Path(resolve_path(settings.edits)).resolve() == place:
            raise ConfigError(f"edits: expected another folder than the one they are filed in, got {place}.")
        self.store.clean()

    def refuse_clashes(self, names: Sequence[str]) -> None:
        """See that no other edits lie under the label, with any seed, unless they may be written over.

        Raises:
            LabelError: naming samples and what differs.
        """
        if self.settings.overwrite:
            return
        clashes = []
        for edit in self.store.edits_of(self.variant):
            if edit.label == self.label or variant_of(edit.record) == self.variant:
                name, before = edit.sample_name, edit.record["identity"].get("edit")
                if edit.record["method"] != METHOD:
                    clashes.append(f"{edit.label}/{name} made by {edit.record['method']}")
                elif (
                    edit.label == self.label and edit.done and name in names and before != self.edits.read(name).digest
                ):
                    clashes.append(f"another picture as {edit.label}/{name}")
        if clashes:
            shown, more = ", ".join(clashes[:SHOWN_CLASHES]), len(clashes) - SHOWN_CLASHES
            raise LabelError(
                f"label: expected no other edits under {self.variant!r}, got {shown}"
                f"{f' and {more} more' if more > 0 else ''}; use another label, or overwrite=true to replace them."
            )

    def process(self, name: str) -> None:
        """Record and measure the edit of one sample, unless that is done; a failure is logged and does not raise.

        Raises:
            ResultsError: when the disk is full or cannot be written to.
        """
        with self.store.lock(self.label, name):
            try:
                if name in self.edits.pictures:
                    self.evaluator.evaluate_edit(*self._file(name), self.core)
                else:
                    self._file_missing(name)
            except ResultsError:
                raise
            except Exception as error:
                # One sample must not end the run; an edit that is on disk is safe.
                expected = isinstance(error, RotationBenchError)
                log.error("%s: failed: %s: %s", name, type(error).__name__, error, exc_info=not expected)
                self.failures.append(name)

    def missing(self, names: Sequence[str]) -> list[str]:
        """The samples of which there is no edit, neither among what came nor from an earlier import; says so once."""
        found = []
        for name in names:
            if name not in self.edits.pictures:
                before = self.store.glance(self.label, name)
                if before is None or not before.done:
                    found.append(name)
        if found:
            more = f" and {len(found) - SHOWN_NAMES} more" if len(found) > SHOWN_NAMES else ""
            listing, where = ", ".join(found[:SHOWN_NAMES]) + more, self.settings.edits
            log.warning("%s: no edit of %s; %d of %d count as not made.", where, listing, len(found), len(names))
        return found

    def _file(self, name: str) -> tuple[Edit, DragSample]:
        started, sample, picture = datetime.now(UTC), self.dataset[name], self.edits.read(name)
        identity, facts = self._identity(sample.digest, picture), self._facts(name, sample)
        before = None if self.settings.overwrite else self.store.read(self.label, name)
        if before is not None and before.done and before.record["fingerprint"] == fingerprint(identity):
            self.store.keep_sample(sample, replace=True)
            stated = all(before.record.get(key) == value for key, value in facts.items())
            return (before if stated else self.store.restate(before, facts)), sample
        self.store.keep_sample(sample, replace=self.settings.overwrite)
        image, warnings = resize_image(picture.image, sample.size), []
        if picture.image.shape[:2] != sample.size:
            given = dimensions((picture.image.shape[0], picture.image.shape[1]))
            warnings.append(f"resized from {given} to {dimensions(sample.size)}")
            log.warning("%s: %s", self.edits.files.place(self.edits.pictures[name]), warnings[-1])
        made = unknown_cost() | {"unchanged": bool(np.array_equal(image, sample.image)), "warnings": warnings}
        origin = {"origin": {"file": picture.file, "sha256": picture.digest}}
        self.filed += 1
        return self.store.save(self._record(identity, started) | made | origin | facts, image=image), sample

    def _file_missing(self, name: str) -> None:
        started, sample = datetime.now(UTC), self.dataset[name]
        identity, facts = self._identity(sample.digest, None), self._facts(name, sample)
        self.failures.append(name)
        before = self.store.glance(self.label, name)
        if before is not None and before.record["fingerprint"] == fingerprint(identity):
            return
        self.store.keep_sample(sample, replace=self.settings.overwrite)
        failure = {"type": "MissingEdit", "message": f"no edit in {self.settings.edits}", "traceback": ""}
        self.store.save(self._record(identity, started) | failed_record(failure) | facts | {"seconds": None})

    def _facts(self, name: str, sample: DragSample) -> dict[str, Any]:
        """What is known about an edit apart from its picture, and may be corrected by importing it again."""
        about = sample_record(name, sample, folder_state(self.dataset.path(name)))
        return {"sample": about, "note": self.settings.note, "seconds": self.edits.seconds.get(name)}

    def _identity(self, sample: str, picture: ForeignPicture | None) -> dict[str, Any]:
        """What decides a foreign edit: the file that came, the sample and the seed that it is said to be made with."""
        return {
            "method": {},
            "method_class": METHOD,
            "method_version": VERSION,
            "sample": sample,
            "seed": self.settings.seed,
            "edit": None if picture is None else picture.digest,
        }

    def _record(self, identity: dict[str, Any], started: datetime) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "method": METHOD,
            "method_version": VERSION,
            "weights_hash": None,
            "model_hash": None,
            "device": None,
            "dtype": None,
            "label": self.label,
            "variant": self.variant,
            "seed": self.settings.seed,
            "fingerprint": fingerprint(identity),
            "identity": identity,
            "config": self.config,
            **environment(),
            "started": started.isoformat(),
            "finished": datetime.now(UTC).isoformat(),
        }
