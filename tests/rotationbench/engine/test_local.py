"""Processes on this machine; the workers need no model, so that what takes time is the start of each process."""

from __future__ import annotations

import time

import pytest
from engine_workers import check, doubler

from rotationbench.engine.local import Local, gpus
from rotationbench.errors import ConfigError


def test_processes_on_this_machine(caplog):
    check(Local(), caplog)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt), Local().crew(doubler(), 2, "cpu") as crew:
        for _ in crew.work(iter([1, "slow", "slow"]), 3):
            raise KeyboardInterrupt
    # A minute of work is not waited for.
    assert time.monotonic() - started < 30


def test_each_worker_has_a_gpu_or_the_run_does_not_begin(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus(2, "auto") == ("0", "1")
    assert gpus(2, "cpu") == ()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert gpus(2, "cuda") == ("3", "5")
    with pytest.raises(ConfigError, match="workers: expected at most 2, a GPU of this machine for each, got 3"):
        gpus(3, "auto")
    with pytest.raises(ConfigError, match="device: expected auto, cpu or cuda with workers=2, got 'cuda:1'"):
        gpus(2, "cuda:1")
