"""Kills and full disks at every kind of place where something is written; what is finished afterwards is undisturbed.

Runs are forks of this process, which has imported everything once. A hook counts file operations below one folder and
ends the run, or lets the disk be full, at the n-th of them.
"""

from __future__ import annotations

import errno
import fnmatch
import json
import os
import random
import re
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.numpy import load_file
from tests_helpers import GOLDEN, compose_config

from rotationbench.command_line import MISUSED, run_task
from rotationbench.config import project_root

pytestmark = pytest.mark.slow

KILLS, FULL_DISKS, SEED = 50, 10, 0
TIMES = {"seconds", "phases", "started", "finished", "peak_memory_mb", "commit"}
"""What two runs that make the same edit may differ in; the commit, because somebody may be at work meanwhile."""
OPERATIONS = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.fsync"}
MODEL = ["model=local", f"model.pretrained={GOLDEN / 'tinyA'}", "model.num_inference_steps=4", "model.resolution=64"]
SITES = {
    "samples": r"samples/",
    "records": r"record\.json|edited\.png|/(nothing|turn|dragdiffusion|theirs)/",
    "metrics": r"metrics\.json",
    "staging": r"\.staging",
    "tables": r"edits\.(csv|parquet)|results/\.tmp-\S+\.(csv|parquet)",
    "sheet": r"contact_sheet|results/\.tmp-\S+\.jpg",
    "LoRA cache": r"cache/lora",
    "Table I": r"table1/",
}


def write_data(root: Path) -> None:
    """Two samples, edits of them made elsewhere, and a picture for Table I."""
    for name in ("cat", "rocket"):
        shutil.copytree(GOLDEN / "cases" / name, root / "data" / name)
        (root / "edits").mkdir(exist_ok=True)
        shutil.copy(root / "data" / name / "image.png", root / "edits" / f"{name}.png")
    (root / "pictures").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    Image.fromarray(noise).resize((320, 240), Image.Resampling.BICUBIC).save(root / "pictures" / "noise.png")


def work(data: Path, place: Path) -> list[int]:
    """Everything that writes, once; the exit statuses."""
    common = [f"results_dir={place / 'results'}", f"cache_dir={place / 'cache'}", "device=cpu"]
    base = [*common, "data=folder", f"data.root={data / 'data'}", "metrics=[psnr]", "sheet_rows=2"]
    drag = ["method=dragdiffusion", "method.max_steps=1", "method.lora={rank: 2, steps: 1, batch_size: 1}"]
    pairs = ["data=folder", f"data.root={data / 'pictures'}", "features=[sift]", "workers=1", "warps_per_image=1"]
    tasks = (
        [*base, "method=nothing"],
        [*base, "method=turn"],
        [*base, *MODEL, *drag, "samples=cat"],
        [*base, "task=import", f"edits={data / 'edits'}", "label=theirs"],
        [*common, "task=evaluate", "metrics=[psnr,ssim]"],
        [*common, "task=table1", *pairs, "crop=[120,160]", "worst=0"],
    )
    return [run_task(compose_config(*settings)) for settings in tasks]


def in_fork(action: Callable[[], Any]) -> int:
    """How a process ended that did `action`: 0, 1 after an error that nobody expected, or minus a signal."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1)
            os.dup2(silence, 2)
            action()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def watch(place: Path, act: Callable[[int, str, str], None]) -> None:
    """Have `act` told the number, the kind and the path of every operation that writes below `place`."""
    below, count = str(place), 0

    def told(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event == "open":
            path, _, flags = arguments
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            event = "open" if writes else ""
        else:
            path = arguments[1] if event == "os.rename" else arguments[0]
        if (
            event in OPERATIONS | {"open"}
            and isinstance(path, (str, os.PathLike))
            and os.fspath(path).startswith(below)
        ):
            act(count, event, os.fspath(path))
            count += 1

    sys.addaudithook(told)
    flush = os.fsync

    def watched_flush(descriptor: int) -> None:
        sys.audit("os.fsync", str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        flush(descriptor)

    os.fsync = watched_flush


def killed_at(number: int) -> Callable[[int, str, str], None]:
    def act(count: int, event: str, path: str) -> None:
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return act


def full_from(number: int) -> Callable[[int, str, str], None]:
    """From the n-th operation on nothing more has room: no new file, no new folder, and no content of a file."""

    def act(count: int, event: str, path: str) -> None:
        takes_room = event == "os.fsync" and not os.path.isdir(path)  # noqa: PTH112 - a path object would be told on
        takes_room = takes_room or (event in ("open", "os.mkdir") and not os.path.lexists(path))
        if count >= number and takes_room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    return act


def plain(value: Any) -> Any:
    """A record without times, and without where it was made."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items() if key not in TIMES | {"results_dir", "cache_dir"}}
    return value


def content(place: Path) -> dict[str, Any]:
    """Everything that a run left, in a form that two undisturbed runs agree in."""
    found: dict[str, Any] = {}
    for path in sorted(path for path in place.rglob("*") if path.is_file()):
        name = str(path.relative_to(place))
        if path.name == "record.json":
            found[name] = plain(json.loads(path.read_text()))
        elif path.name in ("edits.csv", "edits.parquet"):
            table = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
            kept = [column for column in table if not str(column).startswith(("seconds", "peak"))]
            found[name] = table[kept].to_csv(index=False)
        elif path.suffix == ".safetensors":
            found[name] = {key: array.tolist() for key, array in load_file(path).items()}
        elif path.suffix == ".pdf":
            # It names the time at which it was drawn.
            found[name] = path.read_bytes().rstrip().endswith(b"%%EOF")
        elif path.suffix != ".lock" and ".locks" not in path.parts:
            # Locks, and rows that are kept by the times of their files.
            found[name] = path.read_bytes()
    return found


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    """The data, what an undisturbed run leaves of it, and its operations as pairs of kind and path."""
    data, place = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("undisturbed")
    write_data(data)
    log = data / "operations"

    def counted() -> None:
        stream = log.open("w")
        watch(place, lambda count, event, path: print(event, path, file=stream))
        assert work(data, place) == [0] * 6
        stream.close()

    assert in_fork(counted) == 0
    operations = [tuple(line.split(" ", 1)) for line in log.read_text().splitlines()]
    return data, content(place), operations


def chosen(operations: list[tuple[str, str]], count: int) -> list[int]:
    """Seeded numbers of operations, each kind of place among them."""
    generator = random.Random(SEED)
    found: list[int] = []
    for pattern in SITES.values():
        at_site = [number for number, (_, path) in enumerate(operations) if re.search(pattern, path)]
        found += generator.sample(at_site, min(len(at_site), max(1, count // (2 * len(SITES)))))
    others = [number for number in range(len(operations)) if number not in found]
    return sorted({*found, *generator.sample(others, max(0, count - len(set(found))))})[:count]


def test_every_kind_of_place_is_among_the_operations(campaign):
    _, _, operations = campaign
    for site, pattern in SITES.items():
        assert any(re.search(pattern, path) for _, path in operations), site
    assert {event for event, _ in operations} >= OPERATIONS - {"os.rmdir"} | {"open"}


def test_kind_35_every_file_that_runs_leave_is_on_the_page_of_results(tmp_path, campaign):
    data, _, _ = campaign
    place = tmp_path / "results"
    common = [f"results_dir={place}", f"cache_dir={tmp_path / 'cache'}", "device=cpu"]
    edits = ["data=folder", f"data.root={data / 'data'}", "metrics=[psnr]", "sheet_rows=1", "sheet_pages=true"]
    drag = ["method=dragdiffusion", "method.max_steps=1", "method.lora=null", "save_latents=true", *MODEL]
    pairs = ["data=folder", f"data.root={data / 'pictures'}", "features=[sift]", "warps_per_image=1"]
    pairs += ["workers=1", "crop=[120,160]", "worst=1", "write_pairs=true"]

    def everything() -> None:
        for settings in ([*edits, *drag], ["task=report"], ["task=table1", *pairs]):
            assert run_task(compose_config(*common, *settings)) == 0

    assert in_fork(everything) == 0
    page = (project_root() / "results" / "README.md").read_text(encoding="utf-8")
    paths = "".join(line.split(" | ")[0] for line in page.splitlines() if line.startswith("| `"))
    patterns = [re.sub(r"<\w+>", "*", path) for path in re.findall(r"`([^`]+)`", paths)]
    names = [str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()]
    assert [name for name in names if not any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)] == []
    # What only other settings and tasks write.
    unused = [pattern for pattern in patterns if not fnmatch.filter(names, pattern)]
    assert set(unused) <= {"demo.md", ".staging/*"}


def finish_and_compare(data: Path, place: Path, expected: dict[str, Any]) -> None:
    def rest() -> None:
        assert work(data, place) == [0] * 6

    assert in_fork(rest) == 0
    found = content(place)
    assert found.keys() == expected.keys()
    assert [name for name in found if found[name] != expected[name]] == []


def test_kind_1_kills_lose_nothing(campaign, tmp_path):
    data, expected, operations = campaign
    for number in chosen(operations, KILLS):
        place = tmp_path / str(number)
        place.mkdir()

        def disturbed(number=number, place=place) -> None:
            watch(place, killed_at(number))
            work(data, place)

        assert in_fork(disturbed) == -signal.SIGKILL, operations[number]
        finish_and_compare(data, place, expected)
        shutil.rmtree(place)


def test_kind_4_full_disks_lose_nothing(campaign, tmp_path):
    data, expected, operations = campaign
    for number in chosen(operations, FULL_DISKS):
        place = tmp_path / str(number)
        place.mkdir()

        def disturbed(number=number, place=place) -> None:
            watch(place, full_from(number))
            # Each task ends with one line; one that only keeps a cache may end well.
            assert set(work(data, place)) <= {0, MISUSED}

        assert in_fork(disturbed) == 0, operations[number]
        finish_and_compare(data, place, expected)
        shutil.rmtree(place)
