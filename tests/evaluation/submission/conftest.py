"""Results that were measured, and their submission."""

from __future__ import annotations

from pathlib import Path

import pytest
from submissions import METRICS, submitted
from synthetic_results import write_edit, write_results

from evaluation.suite import MetricSuite
from rotationbench.results import ResultStore


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """Three samples edited by three methods, measured; and one failure."""
    root = write_results(tmp_path_factory.mktemp("results") / "mine", samples=3, side=96)
    store, suite = ResultStore(root), MetricSuite(METRICS, device="cpu")
    write_edit(root, store.sample("blob000"), "broken", None)
    for edit in store.edits():
        if edit.done:
            suite.evaluate_edit(edit, store.sample(edit.sample_name), None)
    return root


@pytest.fixture(scope="module")
def submission(results, tmp_path_factory) -> Path:
    return submitted(results, tmp_path_factory.mktemp("submission") / "mine.zip", "edits=true")
