"""How long edits take beside the same edits computed as the published programs compute them, phase by phase.

python -m benchmarks.speed
python -m benchmarks.speed --rows dragdiffusion,rotationdrag-step -- samples=[rocket-lean-right] method.lora=null
python -m benchmarks.speed --size sd15 --device cuda --dtype fp16 -- limit=1

What follows `--` are settings of `run.py`. `--size mini` is the embedded model, `--size sd15` Stable Diffusion 1.5 at
full size with random weights. Both ways edit the same picture in the same process in turns, and what is compared is
their ratio within a round, so that other work on the machine disturbs both. On a CPU, seconds are those of the
processor on one thread; on CUDA, those of the clock. Run from the project's root.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from omegaconf import DictConfig

from benchmarks.as_published import as_the_program_computes
from benchmarks.cost import configuration
from benchmarks.random_weights import random_stable_diffusion
from rotationbench.config import build_core, build_method, project_root
from rotationbench.datasets.dataset import chosen_names, open_dataset
from rotationbench.diffusion.core import StableDiffusion
from rotationbench.diffusion.devices import resolve_device, resolve_dtype
from rotationbench.diffusion.loading import Components
from rotationbench.files import whole_file
from rotationbench.method import DragMethod
from rotationbench.sample import DragSample

ROWS = {
    "dragdiffusion": ("method=dragdiffusion",),
    "rotationdrag": ("method=rotationdrag",),
    "rotationdrag-step": ("method=rotationdrag", "method.rotation_step=3.0"),
    "rotationdrag-step-coarse": (
        "method=rotationdrag",
        "method.rotation_step=3.0",
        "method.rotation_inversion_steps=5",
    ),
    "rotationdrag-bank": ("method=rotationdrag", "method.rotation_bank=3.0"),
}
"""The settings of each row; the program's side of a row has the method's own."""
PROGRAM, OURS = "program", "ours"
PROFILE_ROWS = 10


# --- measuring ------------------------------------------------------------------------------------------------------


class PhaseClock:
    """An observer of edits that books the processor's seconds, or on CUDA the clock's, to their phases.

    Args:
        device: where the edits are computed.

    Attributes:
        seconds: by phase.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, float] = {}
        self._phase, self._since = "", 0.0

    def now(self) -> float:
        """Seconds of the processor; on CUDA, of the clock once the device is done."""
        if self.device.type != "cuda":
            return time.process_time()
        torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def computing(self, phase: str, evaluations: int) -> None:
        """See `Observer.computing`."""
        if phase == self._phase:
            return
        now = self.now()
        if self._phase:
            self.seconds[self._phase] = self.seconds.get(self._phase, 0.0) + now - self._since
        self._phase, self._since = phase, now

    def stepped(self, step: int, limit: int, distance: float, handles: np.ndarray | None) -> None:
        """See `Observer.stepped`."""


def measure(core: StableDiffusion, method: DragMethod, sample: DragSample) -> dict[str, float]:
    """Edit once with nothing remembered; returns the seconds by phase and in all, evaluations and drag steps."""
    core.start_edit()
    core._inversions.clear()
    clock = PhaseClock(core.device)
    core.cost.observer = clock
    started, wall = clock.now(), time.perf_counter()
    try:
        with core.cost.phase("other"):
            result = method.edit(core, sample)
            clock.computing("other", 0)
            clock.computing("", 0)
    finally:
        core.cost.observer = None
    whole = {"all": clock.now() - started, "clock": time.perf_counter() - wall}
    counts = {"steps": result.steps, "evaluations": sum(cost.unet_calls for cost in core.cost.phases.values())}
    return clock.seconds | whole | counts


def compare(
    core: StableDiffusion, attention: str, rows: dict[str, DragMethod], sample: DragSample, rounds: int
) -> pd.DataFrame:
    """Edit a sample both ways in turns.

    Args:
        core: the diffusion model.
        attention: its attention kernel, as `set_attention_kernel` takes it.
        rows: methods by row; rows of the same class share the program's edits, which are made by the first of them.
        sample: at its working size.
        rounds: how often; one more goes before, to warm up.

    Returns:
        A line per edit: `sample`, `row`, `round` and what `measure` tells.
    """
    groups: dict[type, list[str]] = {}
    for row, method in rows.items():
        groups.setdefault(type(method), []).append(row)
    lines = []
    for number in range(-1, rounds):
        for group in groups.values():
            # In turns one goes first and the other.
            for way in (PROGRAM, *group)[:: 1 if number % 2 else -1]:
                method = rows[group[0] if way == PROGRAM else way]
                with as_the_program_computes(core, attention) if way == PROGRAM else nullcontext():
                    found = measure(core, method, sample)
                names = group if way == PROGRAM else [way]
                side = PROGRAM if way == PROGRAM else OURS
                lines += [{"sample": sample.name, "row": row, "side": side, "round": number} | found for row in names]
    table = pd.DataFrame(lines)
    return table[table["round"] >= 0]


def ratios(lines: pd.DataFrame) -> pd.DataFrame:
    """Ours over the program's, per row and sample: medians over the rounds, with the smallest and the largest in all.

    Returns:
        Columns: `drag steps` and `s` of both, `ratio` in all with its spread, and the ratio of each phase.
    """
    keys = ["row", "sample"]
    phases = [name for name in lines.columns if name not in {*keys, "side", "round", "steps", "evaluations", "clock"}]
    program, ours = (
        lines[lines["side"] == side].set_index([*keys, "round"]).drop(columns="side") for side in (PROGRAM, OURS)
    )
    by_round = (ours / program).groupby(keys, sort=False)
    middle, low, high = by_round.median(), by_round.min(), by_round.max()
    seconds = {side: table.groupby(keys, sort=False).median() for side, table in ((PROGRAM, program), (OURS, ours))}
    columns: dict[str, Any] = {}
    for side, table in seconds.items():
        columns |= {f"drag steps, {side}": table["steps"], f"evaluations, {side}": table["evaluations"]}
        columns |= {f"s, {side}": table["all"]}
    columns["ratio"] = [
        f"{middle['all'][key]:.2f} ({low['all'][key]:.2f} to {high['all'][key]:.2f})" for key in middle.index
    ]
    columns |= {f"ratio, {phase}": middle[phase] for phase in phases if phase not in ("all", "other")}
    return pd.DataFrame(columns, index=middle.index).reset_index()


def profile(core: StableDiffusion, method: DragMethod, sample: DragSample) -> str:
    """The operations that one edit spends most of its time in, as torch's profiler tells them."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if core.device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profiler:
        measure(core, method, sample)
    order = f"self_{core.device.type}_time_total"
    table: str = profiler.key_averages().table(sort_by=order, row_limit=PROFILE_ROWS, max_name_column_width=60)
    return table


def batch_costs(core: StableDiffusion, size: tuple[int, int], batches: Sequence[int], repeats: int = 3) -> pd.DataFrame:
    """What a latent costs alone and in company: whether editing several pictures at once would pay.

    Args:
        core: the diffusion model.
        size: height and width of the pictures in pixels.
        batches: how many latents at once.
        repeats: the median of so many counts.

    Returns:
        A line per batch: seconds per latent of a pass without gradients, and of a drag step's pass with its gradient.
    """
    clock = PhaseClock(core.device)
    context, timestep = core.embed(""), core.drag_timestep(core.actual_steps(0.75))
    cells = [extent // core.vae_factor for extent in size]
    lines = []
    for batch in batches:
        latents = torch.randn(batch, core.unet.config.in_channels, *cells).to(core.device, core.latent_dtype)

        def forward(latents: torch.Tensor = latents) -> None:
            with torch.inference_mode():
                core.noise(latents, timestep, context)

        def step(latents: torch.Tensor = latents) -> None:
            variable = latents.clone().requires_grad_(True)
            core.gradient(core.noise(variable, timestep, context).abs().sum(), variable)

        line: dict[str, float] = {"batch": batch}
        for name, work in (("s per latent, forward", forward), ("s per latent, drag step", step)):
            work()
            seconds = []
            for _ in range(repeats):
                started = clock.now()
                work()
                seconds.append((clock.now() - started) / batch)
            line[name] = float(np.median(seconds))
        lines.append(line)
    return pd.DataFrame(lines)


# --- the start of a process -----------------------------------------------------------------------------------------

FIRST_STEP = """
import sys, time
from rotationbench.diffusion.cost import Cost

def tell(self, images, *, grad):
    if grad:
        print("first step at", time.time(), flush=True)
        raise SystemExit
Cost.count = tell
sys.argv = ["run.py", *sys.argv[1:]]
import runpy
runpy.run_path("run.py", run_name="__main__")
"""
"""Runs `run.py` until the first evaluation with gradients, without a LoRA the first of the drag's steps."""


def seconds_to_first_step(settings: Sequence[str], out: Path) -> float:
    """Seconds of the clock from the start of a process that runs `run.py` to the first drag step.

    Raises:
        RuntimeError: when no step was made.
    """
    own = ["method.lora=null", "metrics=none", "limit=1", f"results_dir={out}", "overwrite=true"]
    started = time.time()
    told = subprocess.run(
        [sys.executable, "-c", FIRST_STEP, *own, *settings],
        cwd=project_root(),
        capture_output=True,
        text=True,
        check=False,
    )
    times = [line.rsplit(" ", 1)[1] for line in told.stdout.splitlines() if line.startswith("first step at")]
    if not times:
        raise RuntimeError(f"run.py made no drag step: {told.stderr[-2000:]}")
    return float(times[0]) - started


# --- the command line -----------------------------------------------------------------------------------------------


def load_core(size: str, config: DictConfig) -> StableDiffusion:
    """The embedded model, or Stable Diffusion 1.5 at full size with random weights."""
    if size == "mini":
        return build_core(config.model, device=config.device, dtype=config.dtype)
    device = resolve_device(config.device)
    dtype = resolve_dtype(config.dtype, device)
    parts = random_stable_diffusion().to(dtype)
    for module in (parts.unet, parts.vae, parts.text_encoder):
        module.eval().requires_grad_(False)
    for part in (parts.unet, parts.vae, parts.scheduler):
        # As it stands in what is read from disk.
        part.register_to_config(_class_name=type(part).__name__)
    components = Components(parts.unet, parts.vae, parts.text_encoder, parts.tokenizer, dict(parts.scheduler.config))
    model = config.model
    return StableDiffusion(
        components,
        device=device,
        dtype=dtype,
        num_inference_steps=model.num_inference_steps,
        resolution=model.resolution,
        attention=model.attention,
        compile_unet=model.compile,
    )


def samples_of(config: DictConfig) -> list[DragSample]:
    """The samples that the settings name, by default the first."""
    dataset = open_dataset(project_root() / config.data.root, format=config.data.format)
    limit = 1 if config.samples is None and config.limit is None else config.limit
    return [dataset[name] for name in chosen_names(dataset.names, config.samples, limit)]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The rows, the size and the settings that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=str(__doc__).splitlines()[0])
    parser.add_argument(
        "--rows", default="dragdiffusion,rotationdrag,rotationdrag-step", help="with commas between them"
    )
    parser.add_argument("--size", choices=("mini", "sd15"), default="mini")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of the processor")
    parser.add_argument("--profile", action="store_true", help="also profile one edit of each row, both ways")
    parser.add_argument("--batches", default="", help="also time passes of so many latents at once, such as 1,2,4")
    parser.add_argument("--start", action="store_true", help="also time run.py from its start to the first drag step")
    parser.add_argument("--out", type=Path, default=Path("results/speed"), help="folder for speed.csv and speed.md")
    parser.add_argument("settings", nargs="*", help="as run.py takes them")
    given = parser.parse_args(arguments)
    given.rows = given.rows.split(",") if given.rows else []
    given.batches = [int(batch) for batch in given.batches.split(",") if batch]
    if unknown := [row for row in given.rows if row not in ROWS]:
        parser.error(f"--rows: expected some of {', '.join(ROWS)}, got {', '.join(unknown)}")
    if given.rounds < 1 or given.threads < 1:
        parser.error("--rounds, --threads: expected positive numbers")
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the rows, write `speed.csv` and `speed.md`; returns the exit status."""
    given = parse(arguments)
    torch.set_num_threads(given.threads)
    model = [] if given.size == "mini" else ["model=sd15"]
    common = [f"device={given.device}", f"dtype={given.dtype}", *model, *given.settings]
    config = configuration(common)
    core = load_core(given.size, config)
    rows = {row: build_method(configuration([*ROWS[row], *common]).method) for row in given.rows}
    samples = samples_of(config)
    tables, profiles = [], []
    for sample in samples if rows else []:
        working = sample.resized(core.working_size(sample.size))
        tables.append(compare(core, config.model.attention, rows, working, given.rounds))
        if given.profile:
            for row, method in rows.items():
                profiles.append(f"{row}, ours:\n{profile(core, method, working)}")
                with as_the_program_computes(core, config.model.attention):
                    profiles.append(f"{row}, as the program computes it:\n{profile(core, method, working)}")
    lines = pd.concat(tables) if tables else pd.DataFrame()
    text = ratios(lines).to_markdown(index=False, floatfmt=".3g") + "\n" if tables else ""
    if given.batches:
        size = core.working_size(samples[0].size)
        text += f"\n{batch_costs(core, size, given.batches).to_markdown(index=False, floatfmt='.3g')}\n"
    if given.start:
        for row in given.rows:
            seconds = seconds_to_first_step([*ROWS[row], *common], given.out / "edits")
            text += f"\n{row}: {seconds:.1f} s from the start of run.py to the first drag step.\n"
    given.out.mkdir(parents=True, exist_ok=True)
    with whole_file(given.out / "speed.csv") as file:
        lines.to_csv(file, index=False)
    with whole_file(given.out / "speed.md") as file:
        file.write_text("\n".join([text, *profiles]), encoding="utf-8")
    print("\n".join([text, *profiles]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
