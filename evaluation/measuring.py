"""Edits on disk measured by one worker of `task=evaluate`, wherever it works; see `rotationbench.engine`."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation.suite import MetricSuite
from rotationbench.config import BenchmarkConfig, build_core, build_evaluator
from rotationbench.errors import ResultsError, RotationBenchError
from rotationbench.results import METRICS_FILE, Edit, MetricsFile
from rotationbench.results.record import environment
from rotationbench.results.store import write_files
from rotationbench.sample import DragSample

if TYPE_CHECKING:
    from rotationbench.diffusion.core import StableDiffusion


@dataclass(frozen=True)
class Measuring:
    """Edits of one sample to be measured: they share the features of their source picture.

    Args:
        sample: what they were made from.
        edits: what their records say.
        files: of each edit by name, for a worker that cannot see them.
    """

    sample: DragSample
    edits: Sequence[Edit]
    files: Sequence[Mapping[str, bytes]]


@dataclass(frozen=True)
class Measured:
    """What came of one edit.

    Args:
        fault: why it could not be measured; None when it was.
        values: by metric, for `metrics.json` where the worker cannot see it.
        measured_by: how each of them was measured.
    """

    fault: str | None = None
    values: Mapping[str, float | None] = field(default_factory=dict)
    measured_by: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class MeasureWorker:
    """Measures edits.

    Args:
        settings: the checked settings.
        remote: measure copies, and hand the values over, instead of writing them beside the edits.

    Raises:
        ConfigError: when a setting is wrong.
    """

    def __init__(self, settings: BenchmarkConfig, *, remote: bool) -> None:
        self.settings = settings
        self.suite: MetricSuite = build_evaluator(settings.evaluator, metrics=settings.metrics, device=settings.device)
        self.core: StableDiffusion | None = None
        self._aside = Path(tempfile.mkdtemp(prefix="rotationbench-")) if remote else None
        if self._aside is not None:
            weakref.finalize(self, shutil.rmtree, self._aside, ignore_errors=True)

    def prepare(self) -> dict[str, Any]:
        """Load the model, when a metric needs one; see `Worker`."""
        if self.suite.needs_core:
            settings = self.settings
            self.core = build_core(
                settings.model, device=settings.device, dtype=settings.dtype, cache_dir=settings.cache_dir
            )
        return {"weights": self.weights(), "metrics": self.suite.available, "packages": environment()["versions"]}

    def weights(self) -> str | None:
        """The hash of the model's weights; None when no metric needs a model."""
        return None if self.core is None else self.core.weights_hash

    def current(self, edits: Sequence[Edit], measured: Sequence[bytes | None]) -> list[bool]:
        """Of which edits all that can be measured is there, judged without a picture.

        Args:
            edits: what their records say.
            measured: the content of their `metrics.json`, empty where there is none; None for a worker that sees it.
        """
        files = [None if content is None else {METRICS_FILE: content} if content else {} for content in measured]
        return [self.suite.is_current(self._seen(edit, of), self.core) for edit, of in zip(edits, files, strict=True)]

    def __call__(self, item: Measuring) -> list[Measured]:
        """Measure the edits, as far as that is not done.

        Raises:
            ResultsError: when the disk is full or cannot be written to.
        """
        return [self._measure(edit, item.sample, files) for edit, files in zip(item.edits, item.files, strict=True)]

    def _measure(self, edit: Edit, sample: DragSample, files: Mapping[str, bytes]) -> Measured:
        try:
            seen = self._seen(edit, files)
            self.suite.evaluate_edit(seen, sample, self.core, anew=self.settings.overwrite)
        except ResultsError:
            raise
        except (RotationBenchError, OSError, ValueError) as error:
            return Measured(str(error))
        if self._aside is None:
            return Measured()
        file = MetricsFile.read(seen.folder)
        return Measured(values=file.values, measured_by=file.measured_by)

    def _seen(self, edit: Edit, files: Mapping[str, bytes] | None) -> Edit:
        """The edit where the worker can see it."""
        if self._aside is None or files is None:
            return edit
        folder = self._aside / "label" / "edit"
        shutil.rmtree(folder, ignore_errors=True)
        write_files(folder, files)
        return replace(edit, folder=folder)
