"""Making the edits of jobs, and keeping them as a results folder."""

from __future__ import annotations

import io
import math
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from evaluation.metrics import METRICS
from evaluation.suite import MetricSuite
from rotationbench.config import build_core
from rotationbench.diffusion.core import StableDiffusion
from rotationbench.editing import Editor
from rotationbench.errors import DatasetError, RotationBenchError
from rotationbench.labels import label_of, variant_name
from rotationbench.method import DragMethod
from rotationbench.names import name_fault
from rotationbench.results import SAMPLES, Edit, ResultStore, fingerprint, write_table
from rotationbench.results.record import sample_record
from rotationbench.sample import DragSample
from rotationbench.worker import Clerk
from studio.forms import OfferedMethod
from studio.jobs import Job, JobObserver
from studio.settings import StudioConfig

LOADING, MEASURING = "loading the model", "measuring"
MOST_LISTED = 500
MOST_NAMESAKES = 10_000
NAMING = ("name", "_target_")


class Workshop:
    """Makes edits with the model that the studio was started with, and keeps them below `results_dir`.

    Args:
        settings: the checked settings.
        config: the same as the user composed it, for the records.
        offered: the methods.
        suite: measures the edits.
    """

    def __init__(
        self, settings: StudioConfig, config: DictConfig, offered: Mapping[str, OfferedMethod], suite: MetricSuite
    ) -> None:
        self.settings, self.offered, self.suite = settings, offered, suite
        plain = OmegaConf.to_container(config, resolve=True)
        assert isinstance(plain, dict)
        # The token is nobody's business.
        self._config = {str(key): value for key, value in plain.items() if key != "studio"}
        self.store = ResultStore(Path(settings.results_dir))
        self.store.clean()
        self._core: StableDiffusion | None = None

    def editor(self, method: DragMethod, config: dict[str, Any], seed: int) -> Editor:
        """What edits with a method, without a model yet."""
        return Editor(method, replace(self.settings, method=config, seed=seed))

    def expected_evaluations(self, method: DragMethod) -> dict[str, int]:
        """By phase, how many evaluations of the UNet a method takes there at least, where its settings tell."""
        expected = {}
        lora = getattr(method, "lora", None)
        if lora is not None:
            expected["lora"] = int(lora.steps)
        strength = getattr(method, "inversion_strength", None)
        if strength is not None:
            steps = max(1, round(strength * self.settings.model.num_inference_steps))
            expected |= {"inversion": steps, "sampling": steps}
        return expected

    def make(self, job: Job, observer: JobObserver) -> dict[str, Any]:
        """Make, keep and measure the edit of a job, unless it was made before; returns what the page shows of it."""
        editor = self.editor(job.method, job.config, job.seed)
        if editor.needs_core:
            observer.computing(LOADING, 0)
            editor.core = self.core()
        started = datetime.now(UTC)
        sample = self._named(job.sample)
        about = sample_record(sample.name, sample)
        identity = editor.identity(about)
        label, variant = self._label(job, sample.name, fingerprint(identity))
        with self.store.lock(label, sample.name):
            edit = self.store.read(label, sample.name)
            if edit is None or not edit.done:
                picture, made, arrays = editor.edit(sample, observer)
                config = self._config | {"method": job.config, "seed": job.seed}
                record = Clerk(editor, config, label, variant).record(about, identity, started)
                trace = arrays if self.settings.save_latents else None
                # Only now: an edit that fails or is cancelled leaves nothing behind.
                self.store.keep_sample(sample, replace=False)
                edit = self.store.save(record | made, image=picture, trace=trace)
                observer.tell_result(self.shown(edit))
            observer.computing(MEASURING, 0)
            self.suite.evaluate_edit(edit, sample, self.core() if self.suite.needs_core else None)
        write_table(self.store)
        measured = self.store.glance(label, sample.name)
        return self.shown(edit if measured is None else measured)

    def core(self) -> StableDiffusion:
        """The model, which is loaded when it is first needed."""
        if self._core is None:
            settings = self.settings
            self._core = build_core(
                settings.model, device=settings.device, dtype=settings.dtype, cache_dir=settings.cache_dir
            )
        return self._core

    def _named(self, sample: DragSample) -> DragSample:
        """The sample; where another drag of its name is kept, it gets a number."""
        for name in _numbered(sample.name):
            namesake = replace(sample, name=name)
            try:
                kept = self.store.sample(name)
            except RotationBenchError:
                return namesake
            if kept.digest == namesake.digest:
                return namesake
        raise DatasetError([f"{sample.name}: expected a name that is not used up."])

    def _label(self, job: Job, sample: str, wanted: str) -> tuple[str, str]:
        """The label of an edit, and its variant: the method's name, and how its settings differ from its defaults.

        An edit of the same label that something else made, such as another model, stays beside it.
        """
        changed = changed_settings(self.offered[job.method_name].defaults, job.config)
        named = variant_name(job.method_name, changed)
        for variant in _numbered(named):
            label = label_of(variant, job.seed)
            edit = self.store.glance(label, sample)
            if edit is None or not edit.done or edit.record["fingerprint"] == wanted:
                return label, variant
        raise DatasetError([f"{named}: expected a label that is not used up."])

    def listed(self) -> list[dict[str, Any]]:
        """The edits that are there, the newest first."""
        edits = [edit for edit in self.store.edits() if edit.done]
        edits.sort(key=lambda edit: str(edit.record.get("finished")), reverse=True)
        return [self.shown(edit) for edit in edits[:MOST_LISTED]]

    def find(self, label: str, sample: str) -> Edit:
        """An edit by names that the page gives.

        Raises:
            DatasetError: when there is none.
        """
        if name_fault(label) is None and name_fault(sample) is None and label != SAMPLES:
            edit = self.store.glance(label, sample)
            if edit is not None and edit.done:
                return edit
        raise DatasetError([f"{label:.80}/{sample:.80}: expected an edit that is there, found none."])

    def shown(self, edit: Edit) -> dict[str, Any]:
        """What the page shows of an edit."""
        record = edit.record
        method = record["config"]["method"] if isinstance(record.get("config"), dict) else {}
        offered = self.offered.get(str(record["method"]))
        changed = {} if offered is None else changed_settings(offered.defaults, method)
        return {
            "label": record["label"],
            "sample": record["sample"]["name"],
            "digest": record["sample"]["digest"],
            "method": record["method"],
            "seed": record["seed"],
            "changed": [f"{key.removeprefix('method.')} = {value}" for key, value in changed.items()],
            "steps": record["steps"],
            "converged": record["converged"],
            "unchanged": record["unchanged"],
            "seconds": record["seconds"],
            "phases": record["phases"],
            "evaluations": record["phase_unet_calls"],
            "peak_memory_mb": record["peak_memory_mb"],
            "distance_left": record["distance_left"],
            "trajectory": record["trajectory"],
            "finished": record["finished"],
            "metrics": shown_metrics(edit.metrics),
        }

    def archive(self, edits: Iterable[Edit]) -> bytes:
        """Edits and their samples as a zipped results folder with tables of its own."""
        edits = list(edits)
        with tempfile.TemporaryDirectory(prefix="rotationbench-studio-") as folder:
            root = Path(folder) / "results"
            copy = ResultStore(root)
            for name in sorted({edit.sample_name for edit in edits}):
                copy.keep_sample(self.store.sample(name), replace=True)
            for edit in edits:
                place = copy.folder(edit.label, edit.sample_name)
                place.mkdir(parents=True)
                for file in sorted(edit.folder.iterdir()):
                    if file.is_file() and not file.name.startswith("."):
                        (place / file.name).write_bytes(file.read_bytes())
            write_table(copy)
            stream = io.BytesIO()
            with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
                for file in sorted(root.rglob("*")):
                    inside = file.relative_to(root)
                    if file.is_file() and not any(part.startswith(".") for part in inside.parts):
                        archive.write(file, Path("results") / inside)
            return stream.getvalue()


def shown_metrics(values: Mapping[str, float | None]) -> list[dict[str, Any]]:
    """What was measured, in the order of the tables; what does not apply is left out."""
    return [
        {
            "name": metric.name,
            "title": metric.title,
            "better": metric.better,
            "text": "identical" if math.isinf(value) else f"{value:.{metric.digits}f}",
            "value": None if math.isinf(value) else value,
        }
        for metric in METRICS
        if (value := values.get(metric.name)) is not None and not math.isnan(value)
    ]


def changed_settings(default: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, str]:
    """The settings of a method that differ from its defaults, as `method.lora.steps`, and their values as text."""
    before, after = flattened(default, "method"), flattened(chosen, "method")
    return {key: str(value) for key, value in after.items() if key not in before or value != before[key]}


def flattened(settings: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Nested settings by their whole keys; without what names the method."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if key in NAMING:
            continue
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{prefix}.{key}")
        else:
            flat[f"{prefix}.{key}"] = value
    return flat


def _numbered(name: str) -> Iterator[str]:
    yield name
    for count in range(2, MOST_NAMESAKES):
        yield f"{name}-{count}"
