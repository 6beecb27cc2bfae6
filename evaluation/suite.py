"""`MetricSuite`: measures edits with the metrics that a setting names, and keeps the values beside the edits."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from evaluation.metrics import FAMILIES, select_metrics
from evaluation.metrics.base import Edited, MetricFamily, Tools, Values
from evaluation.metrics.clip_similarity import VIT_B16
from evaluation.metrics.features import PictureFeatures
from rotationbench.config import ModelConfig, named_model, resolve_path
from rotationbench.diffusion.devices import resolve_device
from rotationbench.diffusion.dift import DiftSettings
from rotationbench.errors import ConfigError, DatasetError, MissingWeightsError
from rotationbench.results import EDITED_FILE, Edit, MetricsFile
from rotationbench.sample import DragSample

if TYPE_CHECKING:
    from rotationbench.diffusion.core import StableDiffusion

log = logging.getLogger(__name__)


class MetricSuite:
    """The metrics of a run.

    Args:
        metrics: `"none"`, `"fast"`, `"full"`, `"published"`, one name or a list of names.
        device: `"auto"`, `"cpu"`, `"cuda"` or any name torch knows.
        dift: changes to the default `DiftSettings` of the mean distances; None means what the model proposes. The
            prompt is always the sample's.
        dift_model: the model that the mean distances' features come from: a name in `conf/model`, a hub id, a folder
            or a file; None means the model that is handed over with the edits.
        model_dift: what the model that is handed over proposes as `dift`; a name in `conf/model` brings its own.
        clip: hub id or folder of the CLIP model of `clip_similarity`.

    Attributes:
        names: the metrics asked for.
        available: those of them that can be measured here.
        missing: for each metric asked for whose weights are not on this machine, the command that fetches them; also
            logged, once.
        tools: what the families measure with.
        needs_core: whether `evaluate` and `evaluate_edit` need a model.

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
        model_dift: Mapping[str, Any] | None = None,
        clip: str = VIT_B16,
    ) -> None:
        self.names = select_metrics(metrics)
        load_model = None
        if dift_model is not None:
            model = _dift_model(dift_model)
            load_model = partial(_load, model, device)
            model_dift = model.dift
        features = PictureFeatures(_dift_settings(model_dift if dift is None else dift), load_model)
        self.tools = Tools(resolve_device(device), features, clip)
        self._families: list[MetricFamily] = []
        self.missing: dict[str, str] = {}
        for family in (family(self.tools) for family in FAMILIES):
            wanted = [metric.name for metric in family.metrics if metric.name in self.names]
            if not wanted:
                continue
            try:
                family.prepare()
            except MissingWeightsError as error:
                self.missing |= dict.fromkeys(wanted, str(error))
            else:
                self._families.append(family)
        self._report_missing()
        self.available = tuple(name for name in self.names if name not in self.missing)
        needs_features = any(family.needs_features for family in self._families)
        if needs_features:
            features.prepare()
        self.needs_core = needs_features and features.needs_core

    def _report_missing(self) -> None:
        names_by_command: dict[str, list[str]] = {}
        for name in self.names:
            if name in self.missing:
                names_by_command.setdefault(self.missing[name], []).append(name)
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

        Raises:
            ValueError: when the edit is no uint8 picture of the sample's size.
        """
        return self._measure(Edited(self.available, sample, edited, core, seed))

    def is_current(self, edit: Edit, core: StableDiffusion | None) -> bool:
        """Whether `metrics.json` beside an edit holds all that is available, judged by records: no picture is read."""
        if not self.available:
            return True
        measured_by = self.measured_by(core, edit.record["seed"])
        file = MetricsFile.read(edit.folder)
        return (
            file.edited == edit.record["files"].get(EDITED_FILE)
            and file.sample == edit.record["sample"].get("full_digest")
            and all(file.measured_by.get(name) == measured_by[name] for name in self.available)
        )

    def evaluate_edit(
        self, edit: Edit, sample: DragSample, core: StableDiffusion | None, *, anew: bool = False
    ) -> dict[str, float | None]:
        """Measure an edit on disk, as far as `metrics.json` beside it does not hold the values already.

        A value on disk counts when the edited picture, the sample and how it was measured are the same. Values of
        metrics that are not asked for are kept when picture and sample are the same.

        Args:
            edit: the edit.
            sample: what it was made from.
            core: the model for diffusion features; None will do when `needs_core` is False.
            anew: measure again what is there.

        Returns:
            A value for each of `available`, as `evaluate` gives them.

        Raises:
            DatasetError: when the edited picture cannot be read, is not the recorded one, or has another size than the
                sample.
        """
        seed = edit.record["seed"]
        measured_by = self.measured_by(core, seed)
        file = MetricsFile.about(edit.folder, edit.record["files"][EDITED_FILE], sample.full_digest)
        lacking = [name for name in self.available if anew or file.measured_by.get(name) != measured_by[name]]
        if lacking:
            values = self._measure(Edited(lacking, sample, _read_picture(edit, sample), core, seed))
            file.add(values, measured_by)
        return {name: file.values[name] for name in self.available}

    def measured_by(self, core: StableDiffusion | None, seed: int) -> dict[str, Mapping[str, Any]]:
        """By metric, how values come about here; see `MetricFamily.measured_by`."""
        return {
            metric.name: measured_by
            for family in self._families
            for measured_by in [family.measured_by(core, seed)]
            for metric in family.metrics
        }

    def _measure(self, edit: Edited) -> Values:
        expected, picture = edit.sample.image.shape, edit.picture
        if picture.dtype != np.uint8 or picture.shape != expected:
            raise ValueError(
                f"Expected an edit of {edit.sample.name} uint8 {expected}, got {picture.dtype} {picture.shape}."
            )
        found: Values = {}
        for family in self._families:
            if any(metric.name in edit.names for metric in family.metrics):
                found |= family.measure(edit)
        return {name: found.get(name) for name in edit.names}


def _dift_model(name: str) -> ModelConfig:
    """The model that `evaluator.dift_model` names.

    Raises:
        ConfigError: when it is neither a name in `conf/model` nor something on disk, and cannot be a hub id.
    """
    model = named_model(name)
    if model is not None:
        return model
    if "/" not in name and not Path(resolve_path(name)).exists():
        raise ConfigError(
            f"evaluator.dift_model: expected a name in conf/model, a hub id, a folder or a file, got {name!r}."
        )
    return ModelConfig(name=name, pretrained=name)


def _load(model: ModelConfig, device: str) -> StableDiffusion:
    from rotationbench.diffusion.core import StableDiffusion  # noqa: PLC0415 - takes seconds; most metrics need no model

    return StableDiffusion.from_pretrained(
        str(resolve_path(model.pretrained)),
        vae=None if model.vae is None else str(resolve_path(model.vae)),
        device=device,
        allow_pickle=model.allow_pickle,
        single_file_config=model.single_file_config,
    )


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
