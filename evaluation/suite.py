"""`MetricSuite`: measures edits with the metrics that a setting names, and keeps the values beside the edits."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Mapping, Sequence
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
)
from rotationbench.diffusion.core import StableDiffusion, resolve_device
from rotationbench.diffusion.dift import DiftSettings
from rotationbench.errors import ConfigError, DatasetError, MissingWeightsError
from rotationbench.results import EDITED_FILE, Edit, MetricsFile
from rotationbench.sample import DragSample

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
        needs_core: whether `evaluate` and `evaluate_edits` need a model.

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

    def is_current(self, edit: Edit, core: StableDiffusion | None) -> bool:
        """Whether `metrics.json` beside an edit holds all that is available, judged by records: no picture is read."""
        if not self.available:
            return True
        settings = self._settings(core, edit.record["seed"])
        file = MetricsFile.read(edit.folder)
        return (
            file.edited == edit.record["files"].get(EDITED_FILE)
            and file.sample == edit.record["sample"].get("full_digest")
            and all(file.measured_by.get(name) == settings[name] for name in self.available)
        )

    def evaluate_edit(
        self, edit: Edit, sample: DragSample, core: StableDiffusion | None, *, anew: bool = False
    ) -> dict[str, float | None]:
        """Measure what `metrics.json` beside one edit does not hold already; see `evaluate_edits`."""
        return self.evaluate_edits([edit], sample, core, anew=anew)[0]

    def evaluate_edits(
        self, edits: Sequence[Edit], sample: DragSample, core: StableDiffusion | None, *, anew: bool = False
    ) -> list[dict[str, float | None]]:
        """Measure edits of one sample and seed, as far as `metrics.json` beside them does not hold the values already.

        A value on disk counts when the edited picture, the sample and how it was measured are the same. Values of
        metrics that are not asked for now are kept when picture and sample are the same.

        Args:
            edits: on disk, each with an `edited.png`.
            sample: what all of them were made from.
            core: the model for diffusion features; None will do when `needs_core` is False.
            anew: measure again what is there.

        Returns:
            For each edit a value for each of `available`, as `evaluate` gives them.

        Raises:
            DatasetError: when an edited picture cannot be read or has another size than the sample.
        """
        seed = edits[0].record["seed"]
        settings = self._settings(core, seed)
        files = [
            MetricsFile.about(edit.folder, edit.record["files"][EDITED_FILE], sample.full_digest) for edit in edits
        ]
        lacking: dict[tuple[str, ...], list[tuple[Edit, MetricsFile]]] = {}
        for edit, file in zip(edits, files, strict=True):
            names = tuple(name for name in self.available if anew or file.measured_by.get(name) != settings[name])
            lacking.setdefault(names, []).append((edit, file))
        for names, group in lacking.items():
            if not names:
                continue
            pictures = [_read_picture(edit, sample) for edit, _ in group]
            measured = self._measure(Job(names, sample, pictures, core, seed))
            for (_, file), values in zip(group, measured, strict=True):
                file.add(values, settings)
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


def _dift_settings(changes: Mapping[str, Any] | None) -> DiftSettings:
    try:
        return DiftSettings(**(changes or {}))
    except TypeError as error:
        raise ConfigError(f"evaluator.dift: {error}.") from error


def _read_picture(edit: Edit, sample: DragSample) -> np.ndarray:
    """The edited picture, uint8 `(H, W, 3)`.

    Raises:
        DatasetError: when the file is not the one that was recorded, or no picture of the sample's size.
    """
    path = edit.folder / EDITED_FILE
    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != edit.record["files"][EDITED_FILE]:
            raise DatasetError([f"{path}: expected the picture that was recorded, got another."])
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            picture = np.array(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise DatasetError([f"{path}: expected a picture, got: {error}"]) from error
    if picture.shape != sample.image.shape:
        raise DatasetError(
            [f"{path}: expected the sample's size {sample.image.shape[:2]} (height, width), got {picture.shape[:2]}"]
        )
    return picture
