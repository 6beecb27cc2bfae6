"""What methods make of drags in the embedded model's world: edits, measurements, and a search over settings."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from omegaconf import OmegaConf
from tqdm import tqdm

from evaluation.fitted_turn import fitted_turn
from evaluation.suite import MetricSuite
from methods.dragdiffusion import DragDiffusion
from methods.rotationdrag import RotationDrag
from rotationbench.config import project_root
from rotationbench.diffusion.core import StableDiffusion
from rotationbench.diffusion.lora import LoraSettings
from rotationbench.files import write_json
from rotationbench.sample import DragSample
from tools.minisd.sheets import write_sheet

MODEL = project_root() / "conf" / "model" / "mini.yaml"
METHODS = {"dragdiffusion": DragDiffusion, "rotationdrag": RotationDrag}
METRICS = ("mean_distance", "rotation_error", "background_psnr", "psnr_target")

Editor = Callable[[DragSample], np.ndarray]


@dataclass(frozen=True)
class Setting:
    """What the search decides; see `methods.latent_drag` for the meaning of each.

    `rotation_step` is RotationDrag's and is not searched: it is what `make demo` takes, to save a CPU's time.
    """

    max_steps: int = 80
    latent_lr: float = 0.03
    inversion_strength: float = 0.75
    feature_index: int = 3
    lora_steps: int = 20
    rotation_step: float = 4.0

    @classmethod
    def of_model(cls) -> Setting:
        """What `model=mini` has the methods take."""
        model = OmegaConf.load(MODEL)
        return cls(
            max_steps=model.drag_steps,
            latent_lr=model.latent_lr,
            inversion_strength=model.inversion_strength,
            feature_index=model.feature_index,
            lora_steps=model.lora_steps,
        )

    def editor(self, core: StableDiffusion, method: str) -> Editor:
        """A function that edits a sample by the named method with these settings, at the model's size."""
        own = {"rotation_step": self.rotation_step} if method == "rotationdrag" else {}
        made = METHODS[method](
            **own,
            max_steps=self.max_steps,
            latent_lr=self.latent_lr,
            inversion_strength=self.inversion_strength,
            feature_index=self.feature_index,
            lora=LoraSettings(steps=self.lora_steps),
        )

        def edit(sample: DragSample) -> np.ndarray:
            edited = made.edit(core, sample).edited
            return (edited[0].permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy()

        return edit


@dataclass(frozen=True)
class Drags:
    """Measurements of one editor on several samples.

    Args:
        edits: the edited pictures.
        values: the metrics of `METRICS` and `seconds` of every sample; None where one could not be measured.
        wanted: turn in degrees that every sample asks for.
        fitted: turn in degrees that the content made, by `fitted_turn`.
    """

    edits: list[np.ndarray]
    values: list[dict[str, float | None]]
    wanted: np.ndarray
    fitted: np.ndarray

    def relative_errors(self) -> np.ndarray:
        """|fitted − wanted| / |wanted| of every sample: 1 when nothing turned, 0 when all of the turn was made."""
        return np.abs(self.fitted - self.wanted) / np.abs(self.wanted)

    def known(self, name: str) -> list[float]:
        """A metric of the samples where it could be measured."""
        return [value for row in self.values if (value := row[name]) is not None]


def measure(
    core: StableDiffusion, samples: Sequence[DragSample], edit: Editor, suite: MetricSuite, title: str
) -> Drags:
    """Edit every sample and measure what came."""
    edits: list[np.ndarray] = []
    values: list[dict[str, float | None]] = []
    for sample in tqdm(samples, desc=title):
        started = perf_counter()
        edits.append(edit(sample))
        seconds = perf_counter() - started
        values.append(suite.evaluate(sample, edits[-1], core) | {"seconds": seconds})
    fitted = [fitted_turn(sample, edited) for sample, edited in zip(samples, edits, strict=True)]
    wanted = [sample.meta.angle for sample in samples]
    return Drags(edits, values, np.array(wanted, np.float64), np.array(fitted))


# --- search ---------------------------------------------------------------------------------------------------------

SEARCHED: Mapping[str, Sequence[float]] = {
    "inversion_strength": (0.75, 0.9, 0.95),
    "latent_lr": (0.03, 0.06, 0.1),
    "max_steps": (80, 120),
    "lora_steps": (20, 60),
    "feature_index": (3, 2),
}
"""The values that are tried, one setting after the other, each with the best of those before it."""


def search(
    core: StableDiffusion, samples: Sequence[DragSample], suite: MetricSuite, report: Path, method: str = "rotationdrag"
) -> Setting:
    """The setting under which `method` makes most of the wanted turns, found one value after the other.

    What was measured before is read from `report/search.json`, so that a search that was interrupted goes on. Writes
    the table `report/search.md` and a sheet of every setting's edits.
    """
    path = report / "search.json"
    known: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    best: dict[str, Any] = {}
    for name, values in SEARCHED.items():
        tried = {}
        for value in values:
            setting = Setting(**best | {name: value})
            key = ", ".join(f"{searched}={getattr(setting, searched):g}" for searched in SEARCHED)
            if key not in known:
                drags = measure(core, samples, setting.editor(core, method), suite, key)
                known[key] = {"relative_error": float(drags.relative_errors().mean())} | {
                    metric: float(np.mean(measured))
                    for metric in (*METRICS, "seconds")
                    if (measured := drags.known(metric))
                }
                write_json(path, known)
                (report / "search.md").write_text(search_table(known, len(samples)), encoding="utf-8")
                pictures = [
                    *(s.image for s in samples),
                    *drags.edits,
                    *(s.target for s in samples if s.target is not None),
                ]
                write_sheet(report / f"search-{len(known):02d}.png", pictures, columns=len(samples))
            tried[value] = known[key]["relative_error"]
        best[name] = min(tried, key=lambda value: tried[value])
    return Setting(**best)


def search_table(known: Mapping[str, Mapping[str, float]], count: int) -> str:
    """The settings that were tried and what they reached, as a Markdown table."""
    lines = [
        f"| setting ({count} samples each) | error of the turn ÷ turn | MD [px] | PSNR to the exact result [dB] "
        "| PSNR outside the mask [dB] | time [s] |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for key, row in known.items():
        lines.append(
            f"| {key} | {row['relative_error']:.2f} | {row['mean_distance']:.1f} | {row['psnr_target']:.1f} "
            f"| {row['background_psnr']:.1f} | {row['seconds']:.0f} |"
        )
    return "\n".join(lines) + "\n"
