"""A report, and two folders of the same samples, edited with different settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from synthetic_results import NASTY, make_sample, measure, the_truth, the_wrong_way, write_edit, write_results

from evaluation.report.build import ReportSettings, write_report
from rotationbench.datasets import write_sample
from rotationbench.results import SAMPLES


@pytest.fixture
def two_folders(tmp_path) -> list[Path]:
    """The same samples, edited here with one setting and there with another."""
    roots = [tmp_path / "here", tmp_path / "there"]
    for root, steps in zip(roots, (80, 160), strict=True):
        for index in range(3):
            sample = make_sample(index, 64)
            write_sample(root / SAMPLES / sample.name, sample)
            edited = the_truth(sample) if steps == 80 else the_wrong_way(sample)
            config = {"method": {"name": "rotationdrag", "max_steps": steps}, "seed": 0}
            write_edit(root, sample, "rotationdrag", edited, config=config, weights_hash=str(steps))
        measure(root)
    return roots


@pytest.fixture(scope="session")
def report(tmp_path_factory) -> Path:
    """The report of three methods on four samples, with a failed edit and a second seed; the page's path."""
    root = write_results(tmp_path_factory.mktemp("known") / "results", samples=4, side=96)
    write_edit(root, make_sample(3, 96), "backwards", None)
    write_edit(root, make_sample(2, 96), "truth", the_truth(make_sample(2, 96)), seed=1)
    measure(root)
    record_file = root / "idle" / "blob001" / "record.json"
    record = json.loads(record_file.read_text())
    record["config"]["note"] = NASTY
    record_file.write_text(json.dumps(record))
    return write_report([root], ReportSettings(title="Known answers"))
