from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest

from benchmarks.large_folders import STEPS, measured, write_samples
from rotationbench.config import project_root
from rotationbench.datasets import open_dataset


def test_samples_are_what_a_run_can_edit(tmp_path):
    write_samples(tmp_path, 3)
    assert [sample.meta.angle for sample in open_dataset(tmp_path)] == [90.0] * 3


def test_every_step_is_measured(tmp_path):
    # In a process of its own: the steps are forked, and a fork of a process whose threads have computed may hang.
    told = subprocess.run(
        [sys.executable, "-m", "benchmarks.large_folders", "--records", "2", "--out", tmp_path],
        cwd=project_root(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    table = pd.read_csv(tmp_path / "large_folders.csv")
    assert table["step"].tolist() == list(STEPS)
    assert (table[["seconds", "CPU seconds", "peak memory [MiB]"]] > 0).all().all()
    assert (tmp_path / "results-2" / "contact_sheet.jpg").is_file()
    assert (tmp_path / "results-2" / "report" / "report.html").is_file()
    assert "2 records, report: " in told.stdout


def test_a_step_that_fails_is_no_measurement():
    with pytest.raises(RuntimeError, match="to end well"):
        measured(lambda: 1)
