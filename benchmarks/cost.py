"""What each method costs: UNet evaluations, seconds by phase and peak memory of the same edits.

python -m benchmarks.cost
python -m benchmarks.cost --rows dragdiffusion,rotationdrag-exact limit=4 model=sd15 device=cuda dtype=fp16

What is no option is a setting of `run.py`. Every row is edited in a process of its own that finds no LoRA and no
inversion left over from another, so that no method profits from what one before it left in a cache; the report of the
edits, with its cost table and its plot of the phases, is written as for any results folder. Run from the project's
root.
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
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from evaluation.report.build import ReportSettings, write_report
from methods.rotationdrag import RotatedReferences
from rotationbench import benchmark
from rotationbench.config import project_root
from rotationbench.diffusion.devices import resolve_device, resolve_dtype
from rotationbench.errors import ResultsError
from rotationbench.files import whole_file
from rotationbench.results import ResultStore

DEFAULTS = ("limit=2", "metrics=none")
"""Settings unless others are given."""
BASELINE = "dragdiffusion"
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
class Variant:
    """One row of the table.

    Args:
        settings: what sets it apart, as `run.py` takes it.
        anew: measure with `inverted_anew`.
    """

    settings: tuple[str, ...]
    anew: bool = False


VARIANTS = {
    "dragdiffusion": Variant(("method=dragdiffusion",)),
    "freedrag": Variant(("method=freedrag",)),
    "sde_drag": Variant(("method=sde_drag",)),
    "gooddrag": Variant(("method=gooddrag",)),
    "fastdrag": Variant(("method=fastdrag",)),
    "dragnoise": Variant(("method=dragnoise",)),
    "regiondrag": Variant(("method=regiondrag",)),
    "draglora": Variant(("method=draglora",)),
    "rotationdrag-bank": Variant(("method=rotationdrag", "method.rotation_bank=3.0")),
    "rotationdrag-exact": Variant(("method=rotationdrag", "method.rotation_bank=null")),
    "rotationdrag-step": Variant(("method=rotationdrag", "method.rotation_step=3.0")),
    "rotationdrag-anew": Variant(("method=rotationdrag", "method.rotation_bank=null"), anew=True),
}
"""By label."""


def configuration(settings: Sequence[str]) -> DictConfig:
    """The configuration that `run.py` would use with these settings."""
    with initialize_config_dir(config_dir=str(project_root() / "conf"), version_base="1.3"):
        return compose("config", overrides=list(settings))


def measure(label: str, settings: Sequence[str], out: Path) -> None:
    """Edit every sample with one variant's method, into the results folder `out`.

    Args:
        label: key of `VARIANTS`.
        settings: further ones, as `run.py` takes them.
        out: the results folder.

    Raises:
        ResultsError: when an edit failed.
    """
    variant = VARIANTS[label]
    own = [*variant.settings, f"label={label}", f"results_dir={out}", "cache_dir=null", "overwrite=true"]
    with inverted_anew() if variant.anew else nullcontext():
        status = benchmark.run(configuration([*DEFAULTS, *settings, *own]))
    if status:
        raise ResultsError(f"{out / label}: expected edits to be made, got failures; see above.")


def costs(store: ResultStore, labels: Sequence[str]) -> pd.DataFrame:
    """Means over the samples of what the edits cost, a row per label; of peaks, the highest.

    The sums leave the LoRA out; `× dragdiffusion` compares the evaluations with those of DragDiffusion.
    """
    edits = pd.DataFrame(
        {
            "method": record["label"],
            "drag steps": record["steps"],
            **{f"evaluations, {phase}": calls for phase, calls in record["phase_unet_calls"].items() if calls},
            "evaluations": record["unet_calls"],
            "latents": record["unet_images"],
            **{f"s, {phase}": seconds for phase, seconds in record["phases"].items()},
            "s per edit": record["seconds"],
            "peak MiB": record["peak_memory_mb"],
        }
        for record in (edit.record for edit in store.edits() if edit.done)
    )
    by_label = edits.groupby("method")
    table = by_label.mean().assign(**{"peak MiB": by_label["peak MiB"].max()}).reindex(labels).fillna(0.0)
    table[f"× {BASELINE}"] = table["evaluations"] / table["evaluations"].get(BASELINE, np.nan)
    return table


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


def speed(config: DictConfig, table: pd.DataFrame) -> str:
    """What the machine can do, and with it the least time that Stable Diffusion 1.5's evaluations take."""
    device = resolve_device(config.device)
    rate = matrix_rate(device, resolve_dtype(config.dtype, device))
    text = f"Matrix products on this machine: {rate:.2f} TFLOP/s on {device}."
    if config.model.name == "sd15" and config.model.resolution == 512:
        floors = ", ".join(f"{label} {images * SD15_TFLOP / rate:.1f} s" for label, images in table["latents"].items())
        text += f" At {SD15_TFLOP} TFLOP per latent, forward passes alone take at least: {floors}."
    return text


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The rows, the output folder and the settings that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cost", description=str(__doc__).splitlines()[0])
    parser.add_argument("--rows", default=",".join(VARIANTS), help="labels with commas between them")
    parser.add_argument("--out", type=Path, default=Path("results/cost"), help="results folder")
    parser.add_argument("settings", nargs="*", help="as run.py takes them, such as model=sd15 or limit=4")
    given = parser.parse_intermixed_args(arguments)
    given.rows = given.rows.split(",")
    if unknown := [label for label in given.rows if label not in VARIANTS]:
        parser.error(f"--rows: expected some of {', '.join(VARIANTS)}, got {', '.join(unknown)}")
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the rows one after another, write `cost.md` and the report; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    given = parse(arguments)
    for label in given.rows:
        with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as fresh:
            fresh.submit(measure, label, given.settings, given.out).result()
    table = costs(ResultStore(given.out), given.rows)
    text = f"{table.to_markdown(floatfmt='.4g')}\n\n{speed(configuration([*DEFAULTS, *given.settings]), table)}\n"
    with whole_file(given.out / "cost.md") as file:
        file.write_text(text, encoding="utf-8")
    print(text)
    print(f"Report: {write_report([given.out], ReportSettings(title='What an edit costs'))}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
