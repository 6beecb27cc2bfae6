from __future__ import annotations

import subprocess

import numpy as np
import pytest
import torch
from synthetic_results import make_sample

from rotationbench.method import DragResult
from rotationbench.points import ImagePoints
from rotationbench.results import record as records
from rotationbench.results.checking import check_record
from rotationbench.results.record import environment, failed_record, result_record, sample_record, unknown_cost


def result(sample, *places: ImagePoints) -> DragResult:
    return DragResult(
        edited=torch.zeros(1, 3, *sample.size),
        trajectory=[points.to_unrounded_grid(sample.size) for points in places],
        targets=sample.targets.to_unrounded_grid(sample.size),
        steps=len(places) - 1,
        converged=None,
    )


def test_kind_21_what_did_nothing_is_marked():
    sample = make_sample(0, 64)
    source, black = sample.sources, np.zeros_like(sample.image)
    there = ImagePoints(source.xy + [[1.0, 0.0], [0.0, 0.0]])
    pivot_only = ImagePoints(source.xy + [[0.0, 0.0], [0.0, 1.0]])

    def marks(edited, *places):
        record = result_record(result(sample, *places), sample, sample.size, edited)
        return record["unchanged"], record["unmoved"]

    assert marks(sample.image, source) == (True, True)
    assert marks(black, source, source) == (False, True)
    # A handle that came back has moved; what happens to a pivot is no drag.
    assert marks(black, source, there, source) == (False, False)
    assert marks(black, source, pivot_only) == (False, True)


@pytest.mark.parametrize("made", [unknown_cost(), failed_record({"type": "E", "message": "why", "traceback": ""})])
def test_what_is_written_can_be_read(made):
    sample = make_sample(0, 64)
    record = {"schema": 2, "method": "m", "label": "l", "seed": 0, "identity": {}, "fingerprint": "f", "files": {}}
    assert check_record(record | {"sample": sample_record("s", sample)} | made) is None
    assert check_record(record | {"sample": sample_record("s", None)} | made) is None


def test_kind_26_a_machine_without_git_has_no_commit(monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", missing)
    environment.cache_clear()
    try:
        assert records.environment()["commit"] is None
    finally:
        environment.cache_clear()
