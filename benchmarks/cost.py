"""What each method costs: UNet evaluations, seconds by phase and peak memory of the same edits.

python -m benchmarks.cost
python -m benchmarks.cost --model sd15-random --device cuda --dtype fp16 --size 512

Every row is measured in a process of its own that keeps nothing from another, so that no method profits from what one
before it left in a cache. Run from the project's root.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from hydra import compose, initialize_config_dir
from matplotlib.figure import Figure
from omegaconf import OmegaConf

from evaluation.report.plots import plot_style, save_plot
from evaluation.suite import MetricSuite
from methods.rotationdrag import RotatedReferences
from rotationbench.config import ModelConfig, build_core, build_method, project_root, validated
from rotationbench.datasets import open_dataset
from rotationbench.diffusion.core import StableDiffusion, resolve_device, resolve_dtype
from rotationbench.diffusion.cost import PhaseCost, peak_memory_mb, reset_peak_memory
from rotationbench.diffusion.random_weights import random_stable_diffusion
from rotationbench.files import whole_file
from rotationbench.sample import DragSample, to_uint8

PHASES = ("lora", "inversion", "bank", "drag", "sampling", "metrics", "other")
COLOURS = ("#999999", "#56B4E9", "#E69F00", "#D55E00", "#009E73", "#CC79A7", "#000000")
SD15_TFLOP = 0.8
"""Of one evaluation of Stable Diffusion 1.5's UNet on one latent of 64 × 64, forward only."""


class InvertedAnew(RotatedReferences):
    """Inverts the rotated picture for each handle in every round of tracking, as RotationDrag's published program."""

    def at(self, angles: Sequence[float]) -> list[torch.Tensor]:
        """Reference features of all handles at each angle, with nothing remembered and nothing batched."""
        found = []
        for angle in angles:
            self._by_angle.clear()
            found += super().at([angle])
        return found


@contextmanager
def inverted_anew() -> Iterator[None]:
    """Inside the block, RotationDrag works as expensively as its published program."""
    with patch("methods.rotationdrag.RotatedReferences", InvertedAnew):
        yield


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Args:
        title: its name in table and plot.
        method: a file of `conf/method`.
        overrides: further settings, as Hydra takes them.
        anew: measure with `inverted_anew`.
    """

    title: str
    method: str
    overrides: tuple[str, ...] = ()
    anew: bool = False


ROWS = {
    "dragdiffusion": Row("DragDiffusion", "dragdiffusion"),
    "freedrag": Row("FreeDrag", "freedrag"),
    "sde_drag": Row("SDE-Drag", "sde_drag"),
    "rotationdrag-bank": Row("RotationDrag, bank of 3°", "rotationdrag", ("method.rotation_bank=3.0",)),
    "rotationdrag-exact": Row("RotationDrag, exact", "rotationdrag", ("method.rotation_bank=null",)),
    "rotationdrag-anew": Row(
        "RotationDrag, every angle anew", "rotationdrag", ("method.rotation_bank=null",), anew=True
    ),
}


@dataclass(frozen=True)
class Options:
    """What the command line says; see `parse`."""

    model: str
    data: str
    samples: tuple[str, ...]
    size: int | None
    steps: int | None
    drag_steps: int | None
    lora_steps: int | None
    sde_steps: int | None
    device: str
    dtype: str
    metrics: str


def configuration(row: Row, options: Options) -> dict[str, Any]:
    """The configuration that `run.py` would use for a row, with everything filled in."""
    model = {"mini": ["model=mini"], "sd15-random": ["model=sd15"]}.get(
        options.model, ["model=local", f"model.pretrained={options.model}"]
    )
    budgets = {
        "num_inference_steps": options.steps,
        "resolution": options.size,
        "drag_steps": options.drag_steps,
        "lora_steps": options.lora_steps,
        "sde_steps": options.sde_steps,
    }
    overrides = [
        f"method={row.method}",
        *model,
        *(f"++model.{name}={value}" for name, value in budgets.items() if value),
        *(["method.lora=null"] if options.lora_steps == 0 else []),
        *row.overrides,
    ]
    with initialize_config_dir(config_dir=str(project_root() / "conf"), version_base="1.3"):
        config = compose("config", overrides=overrides)
    return {name: OmegaConf.to_container(config[name], resolve=True) for name in ("method", "model")}


def load_core(options: Options, model: ModelConfig, cache_dir: Path | None = None) -> StableDiffusion:
    """A core for the options; it keeps LoRAs in `cache_dir`, or not at all."""
    if options.model != "sd15-random":
        return build_core(model, device=options.device, dtype=options.dtype, cache_dir=cache_dir)
    device = resolve_device(options.device)
    dtype = resolve_dtype(options.dtype, device)
    return StableDiffusion(
        random_stable_diffusion(dtype),
        device=device,
        dtype=dtype,
        num_inference_steps=model.num_inference_steps,
        resolution=model.resolution,
        attention=model.attention,
        compile_unet=model.compile,
        cache_dir=cache_dir,
    )


def measure(name: str, options: Options) -> list[dict[str, Any]]:
    """Edit every sample with one row's method.

    Args:
        name: key of `ROWS`.
        options: the command line.

    Returns:
        For each sample, the columns of `cost.csv`.
    """
    row = ROWS[name]
    config = configuration(row, options)
    method = build_method(config["method"])
    core = load_core(options, validated(ModelConfig, config["model"], where="model"))
    suite = MetricSuite(metrics=options.metrics, device=options.device)
    dataset = open_dataset(Path(options.data))
    found = []
    for sample_name in options.samples:
        sample: DragSample = dataset[sample_name]
        sample = sample.resized(core.working_size(sample.size))
        core.cost.reset()
        reset_peak_memory(core.device)
        with inverted_anew() if row.anew else nullcontext():
            result = method.edit(core, sample)
        memory = peak_memory_mb(core.device)
        with core.cost.phase("metrics", core.device):
            suite.evaluate(sample, to_uint8(result.edited), core)
        found.append(
            {
                "row": name,
                "sample": sample_name,
                "height": sample.size[0],
                "width": sample.size[1],
                "drag_steps": result.steps,
                "peak_memory_mb": memory,
                **columns(core.cost.phases),
            }
        )
    return found


def columns(phases: dict[str, PhaseCost]) -> dict[str, float]:
    """The phases' costs as columns, and their sums without the metrics, which are no part of an edit."""
    of_edit = [phase for name, phase in phases.items() if name != "metrics"]
    sums = {
        "seconds": sum(phase.seconds for phase in of_edit),
        "unet_calls": sum(phase.unet_calls for phase in of_edit),
        "unet_images": sum(phase.unet_images for phase in of_edit),
        "unet_grad_calls": sum(phase.unet_grad_calls for phase in of_edit),
    }
    details = {
        f"{quantity}_{phase}": getattr(phases.get(phase, PhaseCost()), quantity)
        for quantity in ("seconds", "unet_calls", "unet_images")
        for phase in PHASES
    }
    return sums | details


def matrix_rate(device: torch.device, dtype: torch.dtype, side: int = 4096, repeats: int = 5) -> float:
    """TFLOP per second of a matrix product, the median of some."""
    side = side if device.type == "cuda" else side // 4
    matrix = torch.randn(side, side, device=device, dtype=dtype)
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        torch.mm(matrix, matrix)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    # The first product includes what is set up once.
    return 2 * side**3 / float(np.median(seconds[1:])) / 1e12


def summary(edits: pd.DataFrame) -> pd.DataFrame:
    """One line per row: means over the samples, the highest peak, and evaluations relative to DragDiffusion."""
    grouped = edits.groupby("row", sort=False)
    table = grouped.mean(numeric_only=True)
    table["peak_memory_mb"] = grouped["peak_memory_mb"].max()
    sequential = table["unet_calls"] - table["unet_calls_lora"]
    table["relative"] = sequential / sequential.get("dragdiffusion", np.nan)
    return table


def markdown(table: pd.DataFrame) -> str:
    """The summary as a table in Markdown."""
    phases = [phase for phase in PHASES if table[f"seconds_{phase}"].any()]
    header = [
        "method",
        "drag steps",
        *(f"evaluations, {phase}" for phase in phases if table[f"unet_calls_{phase}"].any()),
        "without LoRA, × DragDiffusion",
        "latents in all",
        *(f"s, {phase}" for phase in phases),
        "s per edit",
        "peak MiB",
    ]
    lines = ["| " + " | ".join(header) + " |", "|---" + "|---:" * (len(header) - 1) + "|"]
    for name, values in table.iterrows():
        cells = [
            ROWS[str(name)].title,
            f"{values['drag_steps']:.0f}",
            *(f"{values[f'unet_calls_{phase}']:.0f}" for phase in phases if table[f"unet_calls_{phase}"].any()),
            "" if np.isnan(values["relative"]) else f"{values['relative']:.2f}",
            f"{values['unet_images']:.0f}",
            *(f"{values[f'seconds_{phase}']:.1f}" for phase in phases),
            f"{values['seconds']:.1f}",
            f"{values['peak_memory_mb']:.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def stacked_bars(table: pd.DataFrame) -> Figure:
    """Seconds and UNet evaluations of each row, stacked by phase."""
    with plot_style():
        figure, panels = plt.subplots(1, 2, figsize=(9, 0.45 * len(table) + 1.2), sharey=True)
        titles = [ROWS[str(name)].title for name in table.index]
        for axes, quantity, label in zip(
            panels, ("seconds", "unet_calls"), ("seconds per edit", "UNet evaluations, one after another"), strict=True
        ):
            left = np.zeros(len(table))
            for phase, colour in zip(PHASES, COLOURS, strict=True):
                width = table[f"{quantity}_{phase}"].to_numpy(dtype=float)
                if table[f"seconds_{phase}"].any():
                    axes.barh(titles, width, left=left, color=colour, label=phase)
                left += width
            axes.set_xlabel(label)
            axes.grid(visible=False, axis="y")
        panels[0].invert_yaxis()
        panels[1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def common_parser(prog: str, description: str) -> argparse.ArgumentParser:
    """The arguments of everything that measures edits, as `Options` holds them."""
    parser = argparse.ArgumentParser(prog=prog, description=description)
    parser.add_argument("--model", default="mini", help="mini, sd15-random, or a checkpoint that model=local accepts")
    parser.add_argument("--data", default="data/rotationbench", help="folder of samples")
    parser.add_argument("--samples", nargs="+", help="names; default: the first of the folder")
    parser.add_argument("--limit", type=int, default=2, help="how many samples when none is named")
    parser.add_argument("--size", type=int, help="short side in pixels; default: the model's")
    parser.add_argument("--steps", type=int, help="DDIM steps from noise to picture; default: the model's")
    parser.add_argument("--drag-steps", type=int, help="limit of drag steps; default: each method's own")
    parser.add_argument("--lora-steps", type=int, help="0 is no LoRA; default: each method's own")
    parser.add_argument("--sde-steps", type=int, help="SDE-Drag's steps; default: its own")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--metrics", default="fast", help="none, fast, full or one metric")
    return parser


def options_of(given: argparse.Namespace) -> Options:
    """The options that a command line says, with the names of the samples filled in."""
    samples = given.samples or open_dataset(Path(given.data)).names[: given.limit]
    return Options(
        model=given.model,
        data=given.data,
        samples=tuple(samples),
        size=given.size,
        steps=given.steps,
        drag_steps=given.drag_steps,
        lora_steps=given.lora_steps,
        sde_steps=given.sde_steps,
        device=given.device,
        dtype=given.dtype,
        metrics=given.metrics,
    )


def parse(arguments: Sequence[str] | None = None) -> tuple[Options, list[str], Path]:
    """The options, the rows and the output folder that the command line asks for."""
    parser = common_parser("python -m benchmarks.cost", str(__doc__).splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=list(ROWS), choices=list(ROWS), metavar="ROW")
    parser.add_argument("--out", type=Path, default=Path("results/cost"), help="folder for table and plot")
    given = parser.parse_args(arguments)
    return options_of(given), given.methods, given.out


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the rows one after another and write `cost.csv`, `cost.md` and `cost.png`; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options, names, out = parse(arguments)
    edits: list[dict[str, Any]] = []
    for name in names:
        with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as fresh:
            measured = fresh.submit(measure, name, options).result()
        logging.info("%s: %.1f s", ROWS[name].title, sum(edit["seconds"] for edit in measured))
        edits += measured
    frame = pd.DataFrame(edits)
    table = summary(frame)
    text = markdown(table)
    device = resolve_device(options.device)
    rate = matrix_rate(device, resolve_dtype(options.dtype, device))
    text += f"\nMatrix products on this machine: {rate:.2f} TFLOP/s on {device}."
    if options.model == "sd15-random" and options.size in (None, 512):
        floors = ", ".join(
            f"{ROWS[str(name)].title} {images * SD15_TFLOP / rate:.1f} s"
            for name, images in table["unet_images"].items()
        )
        text += f" At {SD15_TFLOP} TFLOP per latent, forward passes alone take at least: {floors}."
    out.mkdir(parents=True, exist_ok=True)
    with whole_file(out / "cost.csv") as file:
        frame.to_csv(file, index=False)
    with whole_file(out / "cost.md") as file:
        file.write_text(text + "\n", encoding="utf-8")
    save_plot(stacked_bars(table), out, "cost")
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
