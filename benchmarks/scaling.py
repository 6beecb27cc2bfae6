"""How far the time of a run falls when two processes share it, and whether the results stay the same.

python -m benchmarks.scaling
python -m benchmarks.scaling --rounds 3 --limit 60 method=rotationdrag model.pretrained=/path/to/checkpoint

What is no option is a setting of `run.py`. Each way makes the same edits on one thread per process, in rounds that
take the ways in turns. The time is that from the start of the first edit to the end of the last one, as the records
tell it: processes load their models before that. Run from the project's root.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

import pandas as pd

from rotationbench.files import whole_file
from rotationbench.results import RECORD_FILE, Edit, ResultStore

DEFAULTS = ("method=dragdiffusion", "method.lora=null", "device=cpu", "metrics=none", "cache_dir=null", "sheet_rows=1")
"""Settings unless others are given."""
ALONE = "one process"
WAYS = {
    ALONE: ((),),
    "two runs, one folder": ((), ()),
    "workers=2": (("workers=2",),),
    "engine=ray workers=2": (("engine=ray", "workers=2"),),
}
"""By name, the settings of each run that is started."""
DIFFER = {"seconds", "phases", "started", "finished", "peak_memory_mb", "environment", "commit", "config"}
"""What records of the same edit may differ in: time, place, and the settings that name them."""


def shared(way: str, settings: Sequence[str], out: Path) -> None:
    """Fill the results folder `out` in one of the `WAYS`.

    Raises:
        CalledProcessError: when a run fails; its log is the file `run-N.log` beside the folder.
    """
    shutil.rmtree(out, ignore_errors=True)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "run.py", *DEFAULTS, *settings, f"results_dir={out}"]
    runs = []
    for number, own in enumerate(WAYS[way]):
        with out.with_name(f"run-{number}.log").open("w", encoding="utf-8") as log:
            runs.append(subprocess.Popen([*command, *own], env=environment, stdout=log, stderr=subprocess.STDOUT))
    for run in runs:
        if run.wait():
            raise subprocess.CalledProcessError(run.returncode, run.args)


def span(edits: Iterable[Edit]) -> float:
    """Seconds from the start of the first edit to the end of the last one."""
    times = [[datetime.fromisoformat(edit.record[key]) for key in ("started", "finished")] for edit in edits]
    begun, ended = zip(*times, strict=True)
    return (max(ended) - min(begun)).total_seconds()


def content(edits: Iterable[Edit]) -> dict[tuple[str, str], object]:
    """What the edits are, by label and sample: the record without `DIFFER`, and the other files byte for byte."""
    return {
        (edit.label, edit.sample_name): (
            {key: value for key, value in edit.record.items() if key not in DIFFER},
            {path.name: path.read_bytes() for path in edit.folder.iterdir() if path.name != RECORD_FILE},
        )
        for edit in edits
    }


def measure(settings: Sequence[str], rounds: int, out: Path) -> pd.DataFrame:
    """A row per way and round: edits, seconds, their share of one process's in the round, and whether all are equal.

    Args:
        settings: further ones, as `run.py` takes them.
        rounds: how often each way is taken.
        out: a folder for the results.
    """
    rows: list[dict[str, object]] = []
    for number in range(rounds):
        alone, expected = 0.0, dict[tuple[str, str], object]()
        for way in WAYS:
            shared(way, settings, out / "results")
            edits = list(ResultStore(out / "results").edits())
            seconds, found = span(edits), content(edits)
            if way == ALONE:
                alone, expected = seconds, found
            row = {"round": number, "way": way, "edits": len(edits), "seconds": seconds}
            rows.append(row | {"of one process": seconds / alone, "equal": found == expected})
            print(", ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
    return pd.DataFrame(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write `scaling.csv` and the table of medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often each way is taken")
    parser.add_argument("--limit", type=int, default=60, help="edits of each run")
    parser.add_argument("--out", type=Path, default=Path("outputs/scaling"), help="folder for results and table")
    parser.add_argument("settings", nargs="*", help="settings of run.py")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    table = measure([*options.settings, f"limit={options.limit}"], options.rounds, options.out.resolve())
    with whole_file(options.out / "scaling.csv") as path:
        table.to_csv(path, index=False)
    by_way = table.groupby("way", sort=False)
    medians = by_way[["edits", "seconds", "of one process"]].median().assign(equal=by_way["equal"].all())
    print(medians.to_markdown(floatfmt=".2f"))
    return 0 if table["equal"].all() else 1


if __name__ == "__main__":
    sys.exit(main())
