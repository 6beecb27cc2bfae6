"""`MetricSuite`: measures edits with the metrics that a setting names, and keeps the values beside the edits."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from evaluation.catalogue import select_metrics
from evaluation.instruments import (
    Clip,
    DraggingAccuracy,
    Instrument,
    Job,
    Lpips,
    PairDistances,
    Rotation,
    ShiftTolerantLpips,
    SourceFidelity,
    TargetFidelity,
    Values,
    measured_digest,
)
from rotationbench.diffusion.core import StableDiffusion, resolve_device
from rotationbench.diffusion.dift import DiftSettings
from rotationbench.errors import ConfigError, DatasetError, MissingWeightsError
from rotationbench.files import sha256_of_file, write_json
from rotationbench.results import Edit
from rotationbench.sample import DragSample

SCHEMA = 1
METRICS_FILE = "metrics.json"
EDITED_FILE = "edited.png"

log = logging.getLogger(__name__)


class MetricSuite:
    """The metrics of a run.

    Args:
        metrics: `"none"`, `"fast"`, `"full"`, one name or a list of names.
        device: `"auto"`, `"cpu"`, `"cuda"` or any name torch knows.
        dift: changes to the default `DiftSettings` of the mean distances; the prompt is always the sample's.
        dift_model: hub id, folder or file of the model that the mean distances' features come from; None means the
            model that is handed over with the edits.
        clip: hub id or folder of the CLIP model.
        batch_size: pictures per pass of the perceptual networks.

    Attributes:
        names: the metrics asked for.
        available: those of them that can be measured here.
        missing: for each metric asked for whose weights are not on this machine, the command that fetches them; also
            logged, once.
        needs_core: whether `evaluate` and `update` need a model.

    Raises:
        ConfigError: when a name or a setting is unknown or outside its range.
        CheckpointError: when `dift_model` cannot be used.
    """

    def __init__(
        self,
        metrics: str | Sequence[str] = "fast",
        device: str = "auto",
        dift: Mapping[str, Any] | None = None,
        dift_model: str | None = None,
        clip: str = "openai/clip-vit-base-patch16",
        batch_size: int = 16,
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"evaluator.batch_size: expected at least 1, got {batch_size}.")
        self.names = select_metrics(metrics if isinstance(metrics, str) else list(metrics))
        place = resolve_device(device)
        load_model = None if dift_model is None else lambda: StableDiffusion.from_pretrained(dift_model, device=device)
        self._instruments: list[Instrument] = []
        self.missing: dict[str, str] = {}
        for instrument in (
            PairDistances(_dift_settings(dift), load_model),
            DraggingAccuracy(),
            Rotation(),
            Lpips(place, batch_size),
            ShiftTolerantLpips(place, batch_size),
            Clip(clip, place, batch_size),
            SourceFidelity(),
            TargetFidelity(),
        ):
            wanted = [name for name in instrument.names if name in self.names]
            if not wanted:
                continue
            try:
                instrument.prepare()
            except MissingWeightsError as error:
                self.missing |= dict.fromkeys(wanted, str(error))
            else:
                self._instruments.append(instrument)
        self._report_missing()
        self.available = tuple(name for name in self.names if name not in self.missing)
        self.needs_core = dift_model is None and any(isinstance(item, PairDistances) for item in self._instruments)

    def _report_missing(self) -> None:
        names_by_command: dict[str, list[str]] = {}
        for name, command in self.missing.items():
            names_by_command.setdefault(command, []).append(name)
        for command, names in names_by_command.items():
            log.warning(
                "Not measured, because the weights are not on this machine: %s. They are fetched by: %s",
                ", ".join(names),
                command,
            )

    def evaluate(
        self, sample: DragSample, edited: np.ndarray, core: StableDiffusion | None, seed: int = 0
    ) -> dict[str, float | None]:
        """Measure one edit.

        Args:
            sample: what was asked for, at its original size.
            edited: uint8 `(H, W, 3)`, what came.
            core: the model for diffusion features; None will do when `needs_core` is False.
            seed: seed of the features' noise.

        Returns:
            A value for each of `available`; None where a metric does not apply to the sample or could not be
            determined, and infinity for the PSNR of identical pictures.
        """
        return self._measure(Job(self.available, sample, [edited], core, seed))[0]

    def evaluate_edit(self, edit: Edit, sample: DragSample, core: StableDiffusion | None) -> dict[str, float | None]:
        """Measure what `metrics.json` beside an edit does not hold already, and write it there; see `update`."""
        return self.update([edit.folder], sample, core, edit.record["seed"])[0]

    def update(
        self, folders: Sequence[Path], sample: DragSample, core: StableDiffusion | None, seed: int = 0
    ) -> list[dict[str, float | None]]:
        """Measure edits of one sample on disk, as far as `metrics.json` beside them does not hold the values already.

        A value on disk counts when the edited picture, the sample and how it was measured are the same. Values of
        metrics that are not asked for now are kept when picture and sample are the same.

        Args:
            folders: one per edit, each with an `edited.png`.
            sample: what all of them were made from.
            core: the model for diffusion features; None will do when `needs_core` is False.
            seed: seed of the features' noise.

        Returns:
            For each edit a value for each of `available`, as `evaluate` gives them.

        Raises:
            DatasetError: when an edited picture cannot be read or has another size than the sample.
        """
        settings = self._settings(core, seed)
        digest = measured_digest(sample)
        files = [MetricsFile.open(folder, digest) for folder in folders]
        lacking: dict[tuple[str, ...], list[MetricsFile]] = {}
        for file in files:
            names = tuple(name for name in self.available if file.measured_by.get(name) != settings[name])
            lacking.setdefault(names, []).append(file)
        for names, group in lacking.items():
            if not names:
                continue
            edits = [_read_picture(file.folder / EDITED_FILE, sample) for file in group]
            measured = self._measure(Job(names, sample, edits, core, seed))
            for file, values in zip(group, measured, strict=True):
                file.values |= values
                file.measured_by |= {name: settings[name] for name in names}
                file.write()
        return [{name: file.values[name] for name in self.available} for file in files]

    def _settings(self, core: StableDiffusion | None, seed: int) -> dict[str, str]:
        return {
            name: settings
            for instrument in self._instruments
            for settings in [instrument.settings(core, seed)]
            for name in instrument.names
        }

    def _measure(self, job: Job) -> list[dict[str, float | None]]:
        expected = job.sample.image.shape
        for edited in job.edits:
            if edited.dtype != np.uint8 or edited.shape != expected:
                raise ValueError(
                    f"Expected edits of {job.sample.name} uint8 {expected}, got {edited.dtype} {edited.shape}."
                )
        found: Values = {}
        for instrument in self._instruments:
            if any(name in job.names for name in instrument.names):
                found |= instrument.measure(job)
        return [{name: found[name][index] for name in job.names} for index in range(len(job.edits))]


@dataclass
class MetricsFile:
    """`metrics.json` beside an edit: values, and for each of them what tells whether it still counts.

    Args:
        folder: the edit's folder.
        edited: SHA-256 of `edited.png`.
        sample: digest of everything about the sample that a metric can depend on.
        values: by metric; JSON has no infinity, so on disk it is the text `"inf"`.
        measured_by: by metric, how it was measured.
    """

    folder: Path
    edited: str
    sample: str
    values: dict[str, float | None] = field(default_factory=dict)
    measured_by: dict[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, sample: str) -> MetricsFile:
        """The file in `folder`, with what it holds about this very picture and sample; empty when that is nothing.

        Raises:
            DatasetError: when there is no edited picture.
        """
        try:
            file = cls(folder, sha256_of_file(folder / EDITED_FILE), sample)
        except OSError as error:
            raise DatasetError([f"{folder / EDITED_FILE}: expected a picture, got: {error.strerror}"]) from error
        content = _read_content(folder)
        identity = {"schema": SCHEMA, "edited": file.edited, "sample": file.sample}
        if all(content.get(key) == value for key, value in identity.items()):
            for name, entry in content["metrics"].items():
                file.values[name] = None if entry["value"] is None else float(entry["value"])
                file.measured_by[name] = entry["measured_by"]
        return file

    def write(self) -> None:
        """Put the file in its place, whole."""
        content = {
            "schema": SCHEMA,
            "edited": self.edited,
            "sample": self.sample,
            "metrics": {
                name: {"value": "inf" if value == math.inf else value, "measured_by": self.measured_by[name]}
                for name, value in self.values.items()
            },
        }
        write_json(self.folder / METRICS_FILE, content)


def _read_content(folder: Path) -> dict[str, Any]:
    """The content of `metrics.json` in an edit's folder as it is; empty when there is none that can be read."""
    try:
        content = json.loads((folder / METRICS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _dift_settings(changes: Mapping[str, Any] | None) -> DiftSettings:
    try:
        return DiftSettings(**(changes or {}))
    except TypeError as error:
        raise ConfigError(f"evaluator.dift: {error}.") from error


def _read_picture(path: Path, sample: DragSample) -> np.ndarray:
    """Uint8 `(H, W, 3)`.

    Raises:
        DatasetError: when the file is no picture of the sample's size.
    """
    try:
        with Image.open(path) as image:
            picture = np.array(image.convert("RGB"))
    except OSError as error:
        raise DatasetError([f"{path}: expected a picture, got: {error}"]) from error
    if picture.shape != sample.image.shape:
        raise DatasetError(
            [f"{path}: expected the sample's size {sample.image.shape[:2]} (height, width), got {picture.shape[:2]}"]
        )
    return picture
