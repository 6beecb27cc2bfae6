"""Ray on this machine; the workers need no model, so that what takes time is the start of each process."""

from __future__ import annotations

import importlib.util

import pytest
from engine_workers import check, doubler

from rotationbench.engine.cluster import OnRay, disconnect
from rotationbench.errors import ConfigError

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
