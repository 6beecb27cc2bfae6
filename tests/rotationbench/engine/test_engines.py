"""Engines with real processes; the workers need no model, so that what takes time is the start of each process."""

from __future__ import annotations

import importlib.util
import os
import time

import pytest
from engine_workers import doubler

from rotationbench.engine.cluster import OnRay, disconnect
from rotationbench.engine.local import Local, gpus
from rotationbench.errors import ConfigError


def check(engine, caplog) -> None:
    """What every engine with processes of its own promises."""
    with engine.crew(doubler(), 2, "cpu") as crew:
        first = crew.ask("pid")
        assert first != os.getpid()
        outcomes = {outcome.item: outcome for outcome in crew.work(iter([1, "poison", 2, 3]), 4)}
    assert [outcomes[number].result for number in (1, 2, 3)] == [2, 4, 6]
    assert outcomes["poison"].death.count(";") == 2
    said = [record.getMessage() for record in caplog.records]
    assert {"item 1", "item 2", "item 3"} <= set(said)
    assert said.count("made") == 1
    # Another crew finds the processes as the first one left them.
    with engine.crew(doubler(), 2, "cpu") as crew:
        pids = {crew.ask("pid") for _ in range(3)}
    assert pids


def test_processes_on_this_machine(caplog):
    check(Local(), caplog)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt), Local().crew(doubler(), 2, "cpu") as crew:
        for _ in crew.work(iter([1, "slow", "slow"]), 3):
            raise KeyboardInterrupt
    # A minute of work is not waited for.
    assert time.monotonic() - started < 30


with_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")


@with_ray
def test_ray_on_this_machine(caplog):
    try:
        check(OnRay(), caplog)
        import ray

        assert [node["NodeManagerAddress"] for node in ray.nodes()] == ["127.0.0.1"]
    finally:
        disconnect()


@with_ray
@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nowhere.invalid:6379"])
def test_a_cluster_that_is_not_there_is_one_line(address):
    crew = OnRay(address=address).crew(doubler(), 1, "cpu")
    # The system's own refusal, which takes no time, and not Ray's, which takes minutes.
    with pytest.raises(ConfigError, match=r"engine\.address: expected a Ray cluster at .*, got: \[Errno ") as caught:
        crew.__enter__()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("resources", [{"GPU": -1}, {"GPU": 1.5}])
def test_resources_that_ray_would_refuse_are_refused(resources):
    with pytest.raises(ConfigError, match=r"engine.resources.GPU: expected"):
        OnRay(resources=resources)


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
