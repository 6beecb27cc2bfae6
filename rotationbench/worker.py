"""Edits made and measured by one worker of a run, wherever it works; see `rotationbench.engine`."""

from __future__ import annotations

import logging
import shutil
import tempfile
import traceback
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rotationbench.config import BenchmarkConfig, build_core, build_evaluator, build_method
from rotationbench.editing import Editor
from rotationbench.errors import DatasetError, LabelError, ResultsError, RotationBenchError
from rotationbench.results import METRICS_FILE, SCHEMA, Edit, ResultStore, changed_settings, changes, fingerprint
from rotationbench.results.record import environment, failed_record, sample_record
from rotationbench.results.store import read_files
from rotationbench.sample import DragSample

if TYPE_CHECKING:
    from rotationbench.diffusion.core import StableDiffusion

log = logging.getLogger(__name__)

OF_RECORDS = ("label", "status", "seed", "sample", "fingerprint", "files", "remake")
"""What tells of a record whether its edit is done."""
SHOWN_METRICS = ("mean_distance", "image_fidelity", "st_lpips", "background_psnr")


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


@dataclass(frozen=True)
class Order:
    """A sample to be edited and measured.

    Args:
        name: its name in the data set.
        sample: the sample at its own size.
        state: what its files look like from outside; see `folder_state`.
        rewritten: whether its copy in the results folder has been written for this order.
        refused: why the results folder takes no edit of it.
        before: the files of the edit that is there, for a worker that cannot see them.
    """

    name: str
    sample: DragSample
    state: str | None
    rewritten: bool = False
    refused: Sequence[str] = ()
    before: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """What a worker did.

    Args:
        made: whether an edit was made.
        failed: whether it could not be made or measured.
        replaced: whether `files` are all there is, and not only what has changed.
        files: by name, for a results folder that the worker cannot see.
    """

    made: bool = False
    failed: bool = False
    replaced: bool = False
    files: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Clerk:
    """Writes the records of one run, and sees that others are of the same settings.

    Args:
        editor: makes the edits.
        config: the configuration as the user composed it.
        label: the row of the tables that the edits belong to.
        variant: the label that repeated seeds share.
    """

    editor: Editor
    config: dict[str, Any]
    label: str
    variant: str

    def record(self, about: dict[str, Any], identity: dict[str, Any], started: datetime) -> dict[str, Any]:
        """What every record says: who made the edit, of what, with what, when."""
        return {
            "schema": SCHEMA,
            **self.editor.record(),
            "label": self.label,
            "variant": self.variant,
            "seed": self.editor.settings.seed,
            "sample": about,
            "fingerprint": fingerprint(identity),
            "identity": identity,
            "config": self.config,
            **environment(),
            "started": started.isoformat(),
            "finished": datetime.now(UTC).isoformat(),
        }

    def refuse(self, edit: Edit, identity: Mapping[str, Any]) -> None:
        """Make sure that an edit under the label, or a seed of it, is of the settings of this run.

        Args:
            edit: the edit.
            identity: what decides this run's edits, as far as it is known.

        Raises:
            LabelError: when it is not; it names the settings.
        """
        if edit.record["status"] != "done":
            return
        seed = self.editor.settings.seed
        changed = changed_settings(edit.record, identity, self.config.get("model", {}))
        if edit.label == self.label and edit.record["seed"] != seed:
            changed.append(f"seed: {edit.record['seed']} → {seed}")
        if changed:
            raise LabelError(
                f"label: expected edits of one setting under {self.variant!r}, got others in {edit.folder} "
                f"({'; '.join(changed)}); use another label, or overwrite=true to replace them."
            )

    def failed(
        self,
        store: ResultStore,
        about: dict[str, Any],
        identity: dict[str, Any],
        started: datetime,
        error: Exception,
    ) -> bool:
        """Record that an edit could not be made; an earlier one is kept, and counts as failed.

        Returns:
            Whether there was none, so that the record stands alone.
        """
        name = about["name"]
        expected = isinstance(error, RotationBenchError)
        log.error("%s: failed: %s: %s", name, type(error).__name__, error, exc_info=None if expected else error)
        failure = {
            "type": type(error).__name__,
            "message": str(error),
            "traceback": "".join(traceback.format_exception(error)),
        }
        before = store.glance(self.label, name)
        if before is None or before.record["status"] != "done":
            store.save(self.record(about, identity, started) | failed_record(failure))
            return True
        store.restate(before, {"remake": failure | {"identity": identity}})
        log.warning("%s: the earlier edit is kept, and counts as failed until it is made with these settings", name)
        return False


class EditWorker:
    """Makes and measures edits.

    Args:
        settings: the checked settings.
        config: the same as the user composed it, for the records.
        label: see `Clerk`.
        variant: see `Clerk`.
        results: the results folder.
        remote: work in a folder of its own and hand over what was made there, instead of in the results folder.

    Raises:
        ConfigError: when a setting is wrong.
    """

    def __init__(
        self,
        settings: BenchmarkConfig,
        config: dict[str, Any],
        label: str,
        variant: str,
        results: Path,
        *,
        remote: bool,
    ) -> None:
        self.settings = settings
        self.evaluator: Evaluator = build_evaluator(
            settings.evaluator, metrics=settings.metrics, device=settings.device
        )
        self.editor = Editor(build_method(settings.method), settings)
        self.clerk = Clerk(self.editor, config, label, variant)
        self.core: StableDiffusion | None = None
        self._aside = remote
        if remote:
            results = Path(tempfile.mkdtemp(prefix="rotationbench-"))
            weakref.finalize(self, shutil.rmtree, results, ignore_errors=True)
        self.store = ResultStore(results)

    def prepare(self) -> dict[str, Any]:
        """Load the model, when the method or a metric needs one; see `Worker`.

        Raises:
            CheckpointError: when the checkpoint cannot be used.
        """
        settings = self.settings
        if self.editor.needs_core or self.evaluator.needs_core:
            self.core = build_core(
                settings.model, device=settings.device, dtype=settings.dtype, cache_dir=settings.cache_dir
            )
            self.editor.core = self.core if self.editor.needs_core else None
        return self.identity() | {"packages": environment()["versions"]}

    def identity(self) -> dict[str, Any]:
        """What decides the edits of all samples."""
        return self.editor.identity({"digest": None})

    def place(self) -> str:
        """What it works with and where, for the log."""
        return "no model" if self.core is None else f"model {self.settings.model.name} on {self.core.device}"

    def current(self, edits: Sequence[Edit], measured: Sequence[bytes | None]) -> list[bool]:
        """Of edits whose samples have not been touched: which are made and measured as asked, judged without a picture.

        Args:
            edits: what their records say; see `OF_RECORDS`.
            measured: the content of their `metrics.json`, empty where there is none; None for a worker that sees it.
        """
        return [self._is_current(edit, content) for edit, content in zip(edits, measured, strict=True)]

    def _is_current(self, edit: Edit, measured: bytes | None) -> bool:
        identity = self.editor.identity(edit.record["sample"])
        if self.settings.overwrite or edit.record["fingerprint"] != fingerprint(identity):
            return False
        if measured is None:
            return self.evaluator.is_current(edit, self.core)
        edit = replace(edit, folder=self.store.root / "current")
        edit.folder.mkdir(exist_ok=True)
        file = edit.folder / METRICS_FILE
        if measured:
            file.write_bytes(measured)
        else:
            file.unlink(missing_ok=True)
        return self.evaluator.is_current(edit, self.core)

    def __call__(self, order: Order) -> Report:
        """Make and measure one edit, unless that is done; a failure is recorded and does not raise.

        Raises:
            ResultsError: when the disk is full or cannot be written to.
        """
        if not self._aside:
            return self._process(order)
        folder = self.store.folder(self.clerk.label, order.name)
        try:
            self.store.put(self.clerk.label, order.name, order.before, replace=True)
            report = self._process(order)
            files = read_files(folder)
            changed = {name: content for name, content in files.items() if order.before.get(name) != content}
            return Report(report.made, report.failed, report.replaced, files if report.replaced else changed)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _process(self, order: Order) -> Report:
        started = datetime.now(UTC)
        identity: dict[str, Any] = {}
        about = sample_record(order.name, order.sample, order.state)
        try:
            identity = self.editor.identity(about)
            edit = self._done_before(order, about, identity)
            made = edit is None
            if edit is None:
                edit = self._edit(order, about, identity, started)
        except ResultsError:
            raise
        except Exception as error:
            # Whatever it is, one sample must not end the run.
            alone = self.clerk.failed(self.store, about, identity, started, error)
            return Report(failed=True, replaced=alone)
        return Report(made, failed=not self._measured(edit, order.sample), replaced=made)

    def _done_before(self, order: Order, about: dict[str, Any], identity: dict[str, Any]) -> Edit | None:
        """The edit that is there, when it is the one that is asked for.

        Its record follows a data set in which something was corrected that no edit sees.
        """
        edit = self.store.read(self.clerk.label, order.name)
        if edit is None or edit.record["status"] != "done":
            return None
        if edit.record["fingerprint"] != fingerprint(identity) or self.settings.overwrite:
            changed = changes(edit.record["identity"], identity)
            log.info("%s: made again (%s)", order.name, "; ".join(changed) or "overwrite=true")
            return None
        if order.rewritten or edit.record["sample"].get("full_digest") != order.sample.full_digest:
            log.info("%s: done before; what is known about the sample has changed and was taken over", order.name)
        else:
            log.info("%s: done before", order.name)
        if edit.record["sample"] == about and not edit.record.get("remake"):
            return edit
        return self.store.restate(edit, {"sample": about, "remake": None})

    def _edit(self, order: Order, about: dict[str, Any], identity: dict[str, Any], started: datetime) -> Edit:
        if order.refused:
            raise DatasetError(order.refused)
        picture, made, arrays = self.editor.edit(order.sample)
        record = self.clerk.record(about, identity, started) | made
        edit = self.store.save(record, image=picture, trace=arrays if self.settings.save_latents else None)
        left = record["distance_left"][-1]
        log.info("%s: %d steps, %.1f s, %.1f px left", order.name, record["steps"], record["seconds"], left)
        if record["unchanged"]:
            log.warning("%s: the edit equals its source", order.name)
        return edit

    def _measured(self, edit: Edit, sample: DragSample) -> bool:
        """Whether the edit could be measured."""
        try:
            values = self.evaluator.evaluate_edit(edit, sample, self.core)
        except ResultsError:
            raise
        except Exception as error:
            # The edit is safe on disk, and one sample must not end the run.
            expected = isinstance(error, RotationBenchError)
            log.error("%s: the edit is kept, but measuring it failed: %s", sample.name, error, exc_info=not expected)
            return False
        shown = ", ".join(f"{key} {value:.3g}" for key in SHOWN_METRICS if (value := values.get(key)) is not None)
        if shown:
            log.info("%s: %s", sample.name, shown)
        return True
