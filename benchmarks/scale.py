"""What a run costs the process that writes, and where that keeps actors waiting.

python -m benchmarks.scale
python -m benchmarks.scale --seconds 30 --edits 10000 --actors 1 8 64 512

The run's own part is measured here: reading a sample and handing it over, putting an edit in its place, and writing the
tables of ever more edits. From these and the seconds that an edit takes elsewhere, a run is simulated for numbers of
actors.
"""

from __future__ import annotations

import argparse
import heapq
import json
import logging
import pickle
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rotationbench.datasets import open_dataset, write_sample
from rotationbench.points import ImagePoints
from rotationbench.results import ResultStore, write_table
from rotationbench.results.record import sample_record
from rotationbench.results.store import read_files
from rotationbench.results.table import EXTENDED_EVERY, LARGEST_SHARE
from rotationbench.sample import DragSample
from rotationbench.worker import Order, Report

REPEATS = 20
RECORDS = (200, 600, 2000)
"""Folders of so many edits have their tables written."""
LINK = 1.25e9
"""Bytes per second that reach the run: ten gigabit Ethernet."""


@dataclass(frozen=True)
class Costs:
    """What an edit costs the run, in seconds of one core, and in bytes on the way.

    Args:
        order: reading the sample, keeping it, and handing it over.
        take: putting what came in its place.
        row: of the tables, each time that they are extended.
        table: of the tables, whatever their length.
        sent: bytes of an order.
        received: bytes of a report.
        stored: bytes on disk, the kept sample apart.
    """

    order: float
    take: float
    row: float
    table: float
    sent: int
    received: int
    stored: int


@dataclass(frozen=True)
class Simulated:
    """A run that was simulated.

    Args:
        actors: how many there were.
        hours: from the first order to the last table.
        busy: the share of that time in which an actor computes.
        run: the share of that time in which the run has something to do.
        tables: the part of the latter that goes into tables.
        link: the share of that time in which the link to the run is taken.
    """

    actors: int
    hours: float
    busy: float
    run: float
    tables: float
    link: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, simulate, and print both as tables in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--side", type=int, default=512, help="of the pictures, in pixels")
    parser.add_argument("--seconds", type=float, default=30.0, help="of an edit, on an actor")
    parser.add_argument("--spread", type=float, default=0.3, help="standard deviation of the logarithm of those")
    parser.add_argument("--edits", type=int, default=10_000)
    parser.add_argument("--actors", type=int, nargs="+", default=[1, 8, 64, 512])
    settings = parser.parse_args(arguments)
    logging.getLogger("rotationbench").setLevel(logging.ERROR)
    costs = measure(settings.side)
    for name, value in asdict(costs).items():
        print(f"| {name} | {value:.3g} |")
    print("\n| actors | hours | actors busy | run busy | of it tables | link busy |\n|---:|---:|---:|---:|---:|---:|")
    for count in settings.actors:
        found = simulate(count, settings.edits, settings.seconds, settings.spread, costs)
        shares = (found.busy, found.run, found.tables, found.link)
        print(f"| {count} | {found.hours:.2f} | " + " | ".join(f"{share:.1%}" for share in shares) + " |")
    print(f"\nOrders and reports alone: {1 / (costs.order + costs.take):.1f} edits/s at most.")


def measure(side: int) -> Costs:
    """What an edit of `side` × `side` pixels costs the run on this machine."""
    picture = noisy(side)
    sample = DragSample(
        name="sample",
        image=picture,
        prompt="a photo",
        sources=ImagePoints.of([(side / 2, side / 4)]),
        targets=ImagePoints.of([(side / 4, side / 2)]),
        mask=np.ones((side, side), dtype=bool),
    )
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_sample(root / "data" / "sample", sample)
        dataset = open_dataset(root / "data", "rotationbench")
        store = ResultStore(root / "results")
        store.save(record_of("first", "sample", sample), image=picture)
        files = read_files(store.folder("first", "sample"))
        order = Order("sample", sample, None)
        report = Report(made=True, replaced=True, files=files)

        def ordered(number: int) -> None:
            kept = dataset["sample"]
            with store.lock("lock", f"s{number}"):
                ResultStore(root / f"kept{number}").keep_sample(kept, replace=False)
            pickle.dumps(Order("sample", kept, None), protocol=5)

        def taken(number: int) -> None:
            came = pickle.loads(pickle.dumps(report, protocol=5))
            store.put("label", f"s{number}", came.files, replace=True)

        row, table = table_costs(root / "tables", sample)
        return Costs(
            order=seconds_of(ordered),
            take=seconds_of(taken),
            row=row,
            table=table,
            sent=len(pickle.dumps(order, protocol=5)),
            received=len(pickle.dumps(report, protocol=5)),
            stored=sum(map(len, files.values())),
        )


def table_costs(root: Path, sample: DragSample) -> tuple[float, float]:
    """Seconds per row, and whatever the length, of tables in which one edit is new."""
    store, seconds, made = ResultStore(root), [], 0
    for count in RECORDS:
        for number in range(made, count):
            folder = store.folder("label", f"s{number}")
            folder.mkdir(parents=True)
            record = record_of("label", f"s{number}", sample) | {"files": {}}
            (folder / "record.json").write_text(json.dumps(record), encoding="utf-8")
        made = count
        write_table(store)

        def extended(number: int) -> None:
            (store.folder("label", f"s{number}") / "record.json").touch()
            write_table(store)

        seconds.append(seconds_of(extended, repeats=3))
    row, table = np.polyfit(RECORDS, seconds, 1)
    return float(row), max(0.0, float(table))


def simulate(actors: int, edits: int, seconds: float, spread: float, costs: Costs) -> Simulated:
    """A run in which one process hands out orders and takes reports, one at a time, in the order in which they come up.

    Args:
        actors: how many there are.
        edits: how many there are to make.
        seconds: what an edit takes on an actor, as the mean of a log-normal distribution; long ones come first.
        spread: standard deviation of its logarithm.
        costs: what an edit costs the run.
    """
    drawn = np.random.default_rng(0).lognormal(np.log(seconds) - spread**2 / 2, spread, edits)
    waiting = sorted(drawn.tolist())
    # When something comes up, and whether it is a report.
    events = [(0.0, False)] * min(actors, edits)
    now = busy = in_tables = 0.0
    due, taken = EXTENDED_EVERY, 0
    while events:
        at, is_report = heapq.heappop(events)
        now = max(now, at)
        if is_report:
            now, busy, taken = now + costs.take, busy + costs.take, taken + 1
            if now >= due or taken == edits:
                table = costs.table + costs.row * taken
                due = now + max(EXTENDED_EVERY, table / LARGEST_SHARE)
                now, busy, in_tables = now + table, busy + table, in_tables + table
        if waiting:
            now, busy = now + costs.order, busy + costs.order
            heapq.heappush(events, (now + waiting.pop(), True))
    link = edits * (costs.sent + costs.received) / LINK
    return Simulated(actors, now / 3600, drawn.sum() / now / actors, busy / now, in_tables / now, link / now)


def seconds_of(action: Callable[[int], None], repeats: int = REPEATS) -> float:
    """The median of what an action computes; waiting for the disk is left out, which depends on what else waits."""
    times = []
    for number in range(repeats):
        started = time.process_time()
        action(number)
        times.append(time.process_time() - started)
    return float(np.median(times))


def noisy(side: int) -> np.ndarray:
    """A picture uint8 `(side, side, 3)` that is as hard to compress as a photograph: smooth, with a little noise."""
    generator = np.random.default_rng(0)
    ramp = np.linspace(0, 200, side)
    smooth = ramp[:, None, None] + ramp[None, :, None] / 4 + np.zeros(3)
    return np.clip(smooth + generator.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)


def record_of(label: str, name: str, sample: DragSample) -> dict[str, Any]:
    """A record as long as that of an edit of 80 steps with two handles."""
    path = [[[float(step), float(step) / 3]] * 2 for step in range(80)]
    return {
        "schema": 2,
        "status": "done",
        "error": None,
        "method": "dragdiffusion",
        "label": label,
        "variant": label,
        "seed": 0,
        "sample": sample_record(name, sample),
        "identity": {"method": {f"setting{number}": number / 3 for number in range(20)}},
        "fingerprint": "0" * 64,
        "config": {f"section{number}": {f"setting{n}": n / 3 for n in range(10)} for number in range(10)},
        "seconds": 30.0,
        "phases": dict.fromkeys(("lora", "inversion", "drag", "sampling", "decode", "other"), 5.0),
        "unet_calls": 157,
        "unet_images": 195,
        "unet_grad_calls": 80,
        "steps": 80,
        "converged": False,
        "unchanged": False,
        "final_distances": [1.0, 2.0],
        "distance_left": [float(step) for step in range(80)],
        "trajectory": path,
    }


if __name__ == "__main__":
    main()
