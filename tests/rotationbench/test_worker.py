"""What workers that see nothing of the results folder make of it, against one worker that writes there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from engine_workers import InMemory, InMemoryEngine
from tests_helpers import GOLDEN, compose_config

from evaluation import evaluate
from rotationbench import benchmark

TIMES = {"seconds", "phases", "started", "finished", "peak_memory_mb", "config"}
"""What two runs that make the same edit may differ in; the results folder is named in the configuration."""


@pytest.fixture
def base(tmp_path) -> list[str]:
    for case in ("cat", "rocket"):
        for copy in (1, 2, 3):
            shutil.copytree(GOLDEN / "cases" / case, tmp_path / "data" / f"{case}{copy}")
    drag = ["method=dragdiffusion", "method.max_steps=1", "method.lora=null", "save_latents=true", "metrics=[psnr]"]
    model = ["model=local", f"model.pretrained={GOLDEN / 'tinyA'}", "model.num_inference_steps=4"]
    return [*drag, *model, "data=folder", f"data.root={tmp_path / 'data'}", "cache_dir=null", "device=cpu"]


@pytest.fixture
def spread(monkeypatch):
    """Have runs done by hosts in memory, one in five of which dies before it hands over what it made."""

    def use(dying: float = 0.2) -> None:
        for module in (benchmark, evaluate):
            monkeypatch.setattr(module, "build_engine", lambda _: InMemoryEngine(InMemory(2, dying=dying)))

    return use


def content(results: Path) -> dict[str, object]:
    """Records without times and everything else byte for byte, apart from tables and locks."""
    found: dict[str, object] = {}
    for path in sorted(path for path in results.glob("*/*/*") if path.is_file()):
        name = str(path.relative_to(results))
        record = json.loads(path.read_text()) if path.name == "record.json" else None
        found[name] = path.read_bytes() if record is None else {k: v for k, v in record.items() if k not in TIMES}
    return found


def run(base: list[str], results: Path, *more: str, task=benchmark) -> int:
    return task.run(compose_config(*base, f"results_dir={results}", *more))


def test_edits_made_elsewhere_are_those_made_here(base, tmp_path, spread, caplog):
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    assert run(base, here) == 0
    spread()
    assert run(base, elsewhere) == 0
    assert content(elsewhere) == content(here)
    assert len(content(here)) == 6 * (4 + 3)
    assert not list(elsewhere.rglob(".tmp-*"))

    # What is done is found to be done, by records alone.
    before = {path: path.stat().st_mtime_ns for path in elsewhere.glob("*/*/*")}
    assert run(base, elsewhere) == 0
    assert {path: path.stat().st_mtime_ns for path in elsewhere.glob("*/*/*")} == before

    # Another metric reaches the edits, and no picture is made again.
    spread(dying=0.0)
    more = [item for item in base if not item.startswith("metrics")]
    assert run(more, elsewhere, "metrics=[psnr,ssim]", task=evaluate) == 0
    after = {path: path.stat().st_mtime_ns for path in elsewhere.glob("*/*/*")}
    assert {path.name for path in after if after[path] != before[path]} == {"metrics.json"}
    metrics = json.loads((elsewhere / "dragdiffusion" / "cat1" / "metrics.json").read_text())["metrics"]
    assert metrics.keys() == {"psnr", "ssim"}

    # Settings that changed make edits again, one that fails keeps the earlier one.
    caplog.clear()
    (tmp_path / "data" / "cat1" / "config.json").write_text("{}")
    assert run(base, elsewhere, "samples=[cat2,rocket1]", "method.lam=0.2", "overwrite=true") == 0
    record = json.loads((elsewhere / "dragdiffusion" / "cat2" / "record.json").read_text())
    assert record["identity"]["method"]["lam"] == 0.2


def test_a_sample_that_ends_its_workers_is_recorded_as_failed_and_made_by_the_next_run(base, tmp_path, spread):
    results = tmp_path / "results"
    spread(dying=1.0)
    assert run(base, results, "samples=cat1") == 1
    record = json.loads((results / "dragdiffusion" / "cat1" / "record.json").read_text())
    assert record["status"] == "failed"
    assert record["error"]["message"] == "each process that was at it ended: SIGKILL; SIGKILL; SIGKILL."
    spread(dying=0.0)
    assert run(base, results, "samples=cat1") == 0
    assert json.loads((results / "dragdiffusion" / "cat1" / "record.json").read_text())["status"] == "done"
