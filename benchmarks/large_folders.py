"""What a results folder of many edits costs when nothing is left to do: seconds and memory, by the number of records.

python -m benchmarks.large_folders --records 1000 3000

Samples of 64 × 64 pixels are made and edited by `method=nothing` with one metric; then each step is run in a process of
its own, forked from one that has imported everything: what the table shows is the step alone. Run from the project's
root.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.cost import configuration
from evaluation.evaluate import run as evaluate
from evaluation.report.build import run as report
from rotationbench import benchmark
from rotationbench.datasets import write_sample
from rotationbench.files import whole_file
from rotationbench.points import ImagePoints
from rotationbench.results import ResultStore, write_table
from rotationbench.results.sheet import draw_sheet
from rotationbench.sample import DragSample, SampleMeta

SIDE = 64
STEPS = ("first run", "contact sheet", "skipping what is done", "limit=1 among them", "evaluate again", "report")


def write_samples(root: Path, count: int) -> None:
    """Write `count` samples below `root`: noise, with a mask, a pivot and an exact result."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[8:56, 8:56] = True
    for number in range(count):
        noise = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        points = ImagePoints.of([(20, 32), (32, 32)]), ImagePoints.of([(32, 20), (32, 32)])
        meta = SampleMeta(split="generated", category=f"kind {number % 7}", pivot=(32.0, 32.0), angle=90.0)
        name = f"noise{number:05d}"
        write_sample(root / name, DragSample(name, noise, "noise", *points, mask, noise[::-1].copy(), meta))


def actions(data: Path, results: Path) -> dict[str, Callable[[], object]]:
    """What is measured, in order, by name."""
    common = [f"results_dir={results}", "cache_dir=null", "device=cpu", "metrics=[psnr]"]
    run = [*common, "method=nothing", "data=folder", f"data.root={data}"]

    def sheet() -> None:
        store = ResultStore(results)
        table = write_table(store)
        (store.root / "contact_sheet.jpg").unlink()
        draw_sheet(store, table, rows=24, pages=False)

    steps = (
        lambda: benchmark.run(configuration(run)),
        sheet,
        lambda: benchmark.run(configuration(run)),
        lambda: benchmark.run(configuration([*run, "limit=1"])),
        lambda: evaluate(configuration([*common, "task=evaluate"])),
        lambda: report(configuration([f"results_dir={results}", "task=report"])),
    )
    return dict(zip(STEPS, steps, strict=True))


def measured(action: Callable[[], object]) -> dict[str, float]:
    """Seconds by the clock and of computing, and peak memory in MiB, of `action` in a forked process.

    This process must not have computed on several threads: their fork would wait for the others for ever.

    Raises:
        RuntimeError: when it fails.
    """
    sys.stdout.flush()
    began = time.perf_counter()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1)
            os.dup2(silence, 2)
            status = 1 if action() else 0
        finally:
            os._exit(status)
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - began
    if status != 0:
        raise RuntimeError(f"Expected the step to end well, got status {status}.")
    return {
        "seconds": seconds,
        "CPU seconds": usage.ru_utime + usage.ru_stime,
        # Linux counts in KiB.
        "peak memory [MiB]": usage.ru_maxrss / 1024,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Make, measure, and write `large_folders.csv`; returns the exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_folders", description=__doc__.splitlines()[0])
    parser.add_argument("--records", nargs="+", type=int, default=[1000, 3000])
    parser.add_argument("--out", type=Path, default=Path("results/large_folders"), help="a folder for all of it")
    given = parser.parse_args(arguments)
    lines = []
    for count in given.records:
        data, results = given.out / f"data-{count}", given.out / f"results-{count}"
        write_samples(data, count)
        for step, action in actions(data, results).items():
            lines.append({"records": count, "step": step} | measured(action))
            print("{records} records, {step}: {seconds:.1f} s".format(**lines[-1]), flush=True)
    table = pd.DataFrame(lines)
    with whole_file(given.out / "large_folders.csv") as file:
        table.to_csv(file, index=False)
    print(table.to_markdown(index=False, floatfmt=".1f"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
