"""`task=benchmark`: one method over the samples of a data set, each edit recorded with what is needed to redo it."""

from __future__ import annotations

import fnmatch
import importlib.metadata
import logging
import platform
import subprocess
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import filelock
import numpy as np
import pandas as pd
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from tqdm import tqdm

from rotationbench.config import BenchmarkConfig, build_core, build_method, find, project_root, validated
from rotationbench.datasets import open_dataset, write_sample
from rotationbench.diffusion.core import StableDiffusion
from rotationbench.diffusion.cost import Cost, peak_memory_mb, reset_peak_memory
from rotationbench.drawing import contact_sheet, draw_sample
from rotationbench.errors import ConfigError, RotationBenchError
from rotationbench.files import write_image
from rotationbench.method import DragMethod, DragResult, needs_model, reads_metadata
from rotationbench.points import GridPoints, ImagePoints
from rotationbench.results import SAMPLES, SCHEMA, Edit, ResultStore, differences, fingerprint
from rotationbench.sample import DragSample, resize_image

log = logging.getLogger(__name__)

PACKAGES = ("torch", "torchvision", "diffusers", "transformers", "peft", "numpy", "opencv-python", "rotationbench")
TABLE_METRICS = ("mean_distance", "image_fidelity", "st_lpips", "background_psnr")
SHEET_SIDE = 256


class Evaluator(Protocol):
    """Measures edits; `evaluator._target_` names the class that does.

    Attributes:
        needs_core: whether a model must be handed over.
    """

    needs_core: bool

    def evaluate_edit(self, edit: Edit, sample: DragSample, core: StableDiffusion | None) -> dict[str, float | None]:
        """Measure what is not yet measured of an edit on disk, keep it beside the edit, and return all values."""
        ...


def run(config: DictConfig) -> int:
    """Edit every chosen sample with the configured method, measure the edits, and rebuild the tables.

    Args:
        config: the composed configuration; see `BenchmarkConfig`.

    Returns:
        The exit status: 0 when every edit was made and measured, 1 when one was not.

    Raises:
        RotationBenchError: when a setting, the data set or the checkpoint cannot be used.
    """
    settings = validated(BenchmarkConfig, config)
    method = build_method(settings.method)
    evaluator: Evaluator = instantiate(settings.evaluator, metrics=settings.metrics, device=settings.device)
    dataset = open_dataset(
        Path(find(settings.data.root)), settings.data.format, split=settings.data.split, subset=settings.data.subset
    )
    names = chosen_names(dataset.names, settings.samples, settings.limit)
    core = None
    if needs_model(method) or evaluator.needs_core:
        core = build_core(settings.model, device=settings.device, dtype=settings.dtype, cache_dir=settings.cache_dir)
    benchmark = Benchmark(settings, OmegaConf.to_container(config, resolve=True), method, core, evaluator)  # type: ignore[arg-type]
    log.info(
        "%s on %d of %d samples of %s, %s, into %s",
        benchmark.label,
        len(names),
        len(dataset.names),
        settings.data.root,
        "no model" if core is None else f"model {settings.model.name} on {core.device}",
        benchmark.store.root / benchmark.label,
    )
    try:
        for name in tqdm(names, desc=benchmark.label, unit="edit", disable=None):
            benchmark.process(name, lambda name=name: dataset[name])
    except KeyboardInterrupt:
        log.warning("Interrupted. Finished edits are kept; the same command goes on from here.")
        raise
    finally:
        table = benchmark.store.rebuild_tables()
    benchmark.draw_contact_sheet(names)
    print_summary(table)
    log.info("Tables: %s", benchmark.store.root / "edits.csv")
    return 1 if benchmark.failures else 0


def chosen_names(names: Sequence[str], patterns: Sequence[str] | None, limit: int | None) -> list[str]:
    """The sample names that match one of the patterns, in their own order, at most `limit` of them.

    Args:
        names: all names.
        patterns: names or globs; None means all.
        limit: None means no limit.

    Raises:
        ConfigError: when a pattern matches nothing.
    """
    chosen = list(names)
    if patterns is not None:
        lost = [pattern for pattern in patterns if not fnmatch.filter(names, pattern)]
        if lost:
            raise ConfigError(f"samples: expected names or globs of samples, got {lost}; there are: {', '.join(names)}")
        chosen = [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]
    return chosen[:limit]


class Benchmark:
    """One method, filling one results folder.

    Args:
        settings: the checked settings.
        config: the same as the user composed it, for the records.
        method: the drag method.
        core: the diffusion model; None when neither the method nor the evaluator needs one.
        evaluator: measures the edits.
    """

    def __init__(
        self,
        settings: BenchmarkConfig,
        config: dict[str, Any],
        method: DragMethod,
        core: StableDiffusion | None,
        evaluator: Evaluator,
    ) -> None:
        self.settings, self.config = settings, config
        self.method, self.core, self.evaluator = method, core, evaluator
        # What edits are made with: a core that only measures them has no part in what they cost and depend on.
        self.editor = core if needs_model(method) else None
        self.cost = Cost() if self.editor is None else self.editor.cost
        self.device = torch.device("cpu") if self.editor is None else self.editor.device
        self.method_name = str(settings.method.get("name") or type(method).__name__.lower())
        self.label = settings.label or self.method_name
        if settings.label is None and settings.seed != 0:
            # Edits with other seeds stand beside each other, so that seeds can be swept into one folder.
            self.label = f"{self.method_name}-seed{settings.seed}"
        if "/" in self.label or self.label.startswith(".") or self.label == SAMPLES:
            raise ConfigError(f"label: expected a folder name other than {SAMPLES!r}, got {self.label!r}.")
        self.store = ResultStore(Path(settings.results_dir))
        self.store.clean()
        self.failures: list[str] = []
        self.environment = environment()

    def process(self, name: str, load: Any) -> None:
        """Make and measure the edit of one sample, unless that is done; a failure is recorded and does not raise.

        Args:
            name: the sample's name.
            load: returns the `DragSample`.
        """
        lock = self.store.lock(self.label, name)
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            log.info("%s: another run is at it; waiting for its result", name)
            lock.acquire()
        try:
            edit = self._edit(name, load)
            if edit is not None and edit.done:
                self._measure(edit)
        finally:
            lock.release()

    def draw_contact_sheet(self, names: Sequence[str]) -> None:
        """Draw `contact_sheet.png`: a row per sample with the source, its points, and the edit of every label."""
        edits = [edit for edit in self.store.edits() if edit.done and edit.record["sample"]["name"] in names]
        labels = sorted({edit.record["label"] for edit in edits})
        if not labels:
            return
        rows = []
        row_labels = []
        for name in names:
            of_sample = {edit.record["label"]: edit for edit in edits if edit.record["sample"]["name"] == name}
            if of_sample:
                sample = self._stored_sample(name)
                pictures = [draw_sample(sample), *(edited_picture(of_sample.get(label), sample) for label in labels)]
                rows.append([thumbnail(picture) for picture in pictures])
                row_labels.append(name)
        sheet = contact_sheet(rows, row_labels=row_labels, column_labels=["source", *labels])
        write_image(self.store.root / "contact_sheet.png", sheet)
        log.info("Contact sheet: %s", self.store.root / "contact_sheet.png")

    def _edit(self, name: str, load: Any) -> Edit | None:
        started = datetime.now(UTC)
        identity: dict[str, Any] = {}
        sample: DragSample | None = None
        try:
            sample = load()
            identity = self._identity(sample)
            before = self.store.read(self.label, name)
            if before is not None and before.done:
                if before.record["fingerprint"] == fingerprint(identity) and not self.settings.overwrite:
                    log.info("%s: done before", name)
                    return before
                changed = differences(before.record["identity"], identity)
                log.info("%s: made again (%s)", name, "; ".join(changed) or "overwrite=true")
            self._keep_sample(sample)
            self.cost.reset()
            reset_peak_memory(self.device)
            result = self._drag(sample)
        except Exception as error:
            # Whatever it is, one sample must not end the run.
            self._fail(name, sample, identity, started, error)
            return None
        record = self._record(name, sample, identity, started) | result_record(
            result, sample, self._working_size(sample)
        )
        record |= cost_record(self.cost) | {"peak_memory_mb": peak_memory_mb(self.device)}
        image = resize_image(to_uint8(result.edited), sample.size)
        trace = None
        if self.settings.save_latents:
            trace = {key: value.numpy() for key, value in ({"edited": result.edited} | result.trace).items()}
        self.store.save(record, image=image, trace=trace)
        left = record["distance_left"][-1]
        log.info("%s: %d steps, %.1f s, %.1f px left", name, result.steps, record["seconds"], left)
        return self.store.read(self.label, name)

    def _working_size(self, sample: DragSample) -> tuple[int, int]:
        return sample.size if self.editor is None else self.editor.working_size(sample.size)

    def _drag(self, sample: DragSample) -> DragResult:
        working = sample.resized(self._working_size(sample))
        # Cells of the supervision grid in pixels of the sample's own picture.
        pixels_per_cell = 2 * sample.size[0] / working.size[0]
        with tqdm(desc=sample.name, unit="step", leave=False, disable=None) as bar:

            def progress(step: int, limit: int, distance: float) -> None:
                bar.total = limit
                bar.update(step + 1 - bar.n)
                bar.set_postfix_str(f"{distance * pixels_per_cell:.1f} px left")

            if self.editor is not None:
                return self.method.edit(self.editor, working, seed=self.settings.seed, progress=progress)
            with self.cost.phase("drag"):
                # A method that needs no model takes None for one.
                return self.method.edit(None, working, seed=self.settings.seed, progress=progress)  # type: ignore[arg-type]

    def _identity(self, sample: DragSample) -> dict[str, Any]:
        """What decides the edit; two edits that agree in it are the same."""
        identity = {
            "method": asdict(self.method),  # type: ignore[call-overload]
            "method_class": f"{type(self.method).__module__}.{type(self.method).__qualname__}",
            "method_version": self.method.version,
            "sample": sample.full_digest if reads_metadata(self.method) else sample.digest,
            "seed": self.settings.seed,
        }
        if self.editor is not None:
            identity |= {
                "weights": self.editor.weights_hash,
                "dtype": str(self.editor.dtype),
                "resolution": self.editor.resolution,
                "num_inference_steps": self.editor.num_inference_steps,
                "attention": self.settings.model.attention,
            }
        return identity

    def _keep_sample(self, sample: DragSample) -> None:
        """Copy the sample into the results, so that they can be read without the data set."""
        with self.store.lock(SAMPLES, sample.name):
            folder = self.store.folder(SAMPLES, sample.name)
            if folder.exists():
                kept = self._stored_sample(sample.name)
                if kept.digest == sample.digest:
                    return
                if not self.settings.overwrite:
                    raise RotationBenchError(
                        f"{folder}: expected the sample that is being edited, got another picture, mask, prompt or "
                        "points under its name; use another results_dir, or overwrite=true to replace it."
                    )
            write_sample(folder, sample)

    def _stored_sample(self, name: str) -> DragSample:
        return open_dataset(self.store.folder(SAMPLES, name), "rotationbench")[name]

    def _measure(self, edit: Edit) -> None:
        name = edit.record["sample"]["name"]
        try:
            values = self.evaluator.evaluate_edit(edit, self._stored_sample(name), self.core)
        except Exception as error:
            # The edit is safe on disk, and one sample must not end the run.
            log.error("%s: the edit is kept, but measuring it failed: %s", name, error, exc_info=True)
            self.failures.append(name)
            return
        shown = ", ".join(f"{key} {value:.3g}" for key in TABLE_METRICS if (value := values.get(key)) is not None)
        if shown:
            log.info("%s: %s", name, shown)

    def _fail(
        self,
        name: str,
        sample: DragSample | None,
        identity: dict[str, Any],
        started: datetime,
        error: Exception,
    ) -> None:
        self.failures.append(name)
        expected = isinstance(error, RotationBenchError)
        log.error("%s: failed: %s: %s", name, type(error).__name__, error, exc_info=not expected)
        before = self.store.read(self.label, name)
        if before is not None and before.done:
            log.warning("%s: the earlier edit is kept", name)
            return
        failure = {
            "type": type(error).__name__,
            "message": str(error),
            "traceback": "".join(traceback.format_exception(error)),
        }
        self.store.save(self._record(name, sample, identity, started) | failed_record(failure))

    def _record(
        self, name: str, sample: DragSample | None, identity: dict[str, Any], started: datetime
    ) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "method": self.method_name,
            "method_version": self.method.version,
            "label": self.label,
            "seed": self.settings.seed,
            "sample": sample_record(name, sample),
            "fingerprint": fingerprint(identity),
            "identity": identity,
            "config": self.config,
            **self.environment,
            "weights_hash": None if self.editor is None else self.editor.weights_hash,
            "device": str(self.device),
            "dtype": None if self.editor is None else str(self.editor.dtype).removeprefix("torch."),
            "started": started.isoformat(),
            "finished": datetime.now(UTC).isoformat(),
        }


def sample_record(name: str, sample: DragSample | None) -> dict[str, Any]:
    """What a record says about the sample; only its name when it could not be read."""
    if sample is None:
        keys = ("digest", "split", "category", "angle", "height", "width", "pairs", "handles")
        return {"name": name} | dict.fromkeys(keys)
    return {
        "name": name,
        "digest": sample.digest,
        "split": sample.meta.split,
        "category": sample.meta.category,
        "angle": sample.meta.angle,
        "height": sample.size[0],
        "width": sample.size[1],
        "pairs": len(sample.sources),
        "handles": int((~sample.is_pivot).sum()),
    }


def result_record(result: DragResult, sample: DragSample, working: tuple[int, int]) -> dict[str, Any]:
    """What a record says about an edit that was made; points and distances in pixels of the sample's picture.

    Distances leave pivot pairs out, also those of methods that drag them like others: so they compare between methods.

    Args:
        result: what the method returned.
        sample: the sample at its own size.
        working: the size `(height, width)` at which the method worked.
    """
    moving = ~sample.is_pivot if len(result.targets) == len(sample.sources) else slice(None)

    def in_picture(points: GridPoints) -> ImagePoints:
        return points.to_image(working).rescaled(working, sample.size)

    def distances(handles: GridPoints) -> np.ndarray:
        return np.linalg.norm(in_picture(handles).xy - in_picture(result.targets).xy, axis=1)[moving]

    return {
        "status": "done",
        "error": None,
        "steps": result.steps,
        "converged": result.converged,
        "final_distances": distances(result.trajectory[-1]).tolist(),
        "distance_left": [float(distances(handles).mean()) for handles in result.trajectory],
        "trajectory": [in_picture(points).xy.tolist() for points in result.trajectory],
        "axis": None if result.axis is None else in_picture(result.axis).xy.tolist(),
    }


def cost_record(cost: Cost) -> dict[str, Any]:
    """The cost of an edit from scratch: what came from a cache is charged with what it once cost.

    `unet_calls`, `unet_images` and `unet_grad_calls` leave the training of the LoRA out, which methods share.
    """
    edit = [phase for name, phase in cost.phases.items() if name != "lora"]
    return {
        "seconds": sum(phase.seconds for phase in cost.phases.values()),
        "phases": {name: phase.seconds for name, phase in cost.phases.items()},
        "phase_unet_calls": {name: phase.unet_calls for name, phase in cost.phases.items()},
        "unet_calls": sum(phase.unet_calls for phase in edit),
        "unet_images": sum(phase.unet_images for phase in edit),
        "unet_grad_calls": sum(phase.unet_grad_calls for phase in edit),
    }


def failed_record(failure: dict[str, str]) -> dict[str, Any]:
    """What a record says about an edit that could not be made."""
    measured = (
        "seconds",
        "phases",
        "phase_unet_calls",
        "unet_calls",
        "unet_images",
        "unet_grad_calls",
        "peak_memory_mb",
        "steps",
        "converged",
        "final_distances",
        "distance_left",
        "trajectory",
        "axis",
    )
    return {"status": "failed", "error": failure} | dict.fromkeys(measured)


def environment() -> dict[str, Any]:
    """The versions of everything that computes, and the commit of the checkout where there is one."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    commit = subprocess.run(
        ["git", "-C", str(project_root()), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "versions": versions,
        "commit": commit.stdout.strip() or None,
        "platform": platform.platform(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def to_uint8(image: torch.Tensor) -> np.ndarray:
    """Float `(1, 3, H, W)` in [0, 1] as uint8 `(H, W, 3)`, rounded."""
    return (image[0].permute(1, 2, 0) * 255).round().clamp(0, 255).to(torch.uint8).numpy()


def edited_picture(edit: Edit | None, sample: DragSample) -> np.ndarray:
    """The edited picture, or a grey one where there is no edit."""
    if edit is None:
        return np.full_like(sample.image, 128)
    with Image.open(edit.folder / "edited.png") as picture:
        return np.array(picture.convert("RGB"))


def thumbnail(picture: np.ndarray) -> np.ndarray:
    """The picture with its long side at the contact sheet's size."""
    height, width = picture.shape[:2]
    scale = SHEET_SIDE / max(height, width)
    return resize_image(picture, (max(1, round(height * scale)), max(1, round(width * scale))))


def print_summary(table: pd.DataFrame) -> None:
    """Print the mean of each label's edits, failures counted."""
    if table.empty:
        return
    columns = [name for name in (*TABLE_METRICS, "final_distance", "seconds", "unet_calls") if name in table]
    numbers = table[columns].apply(pd.to_numeric, errors="coerce")
    grouped = numbers.groupby(table["label"])
    summary = grouped.mean()
    summary.insert(0, "edits", table.groupby("label").size())
    summary.insert(1, "failed", (table["status"] == "failed").groupby(table["label"]).sum())
    print(summary.to_string(float_format=lambda value: f"{value:.3f}"))
