"""A cluster of two nodes on this machine loses one of them, again and again, while a run is at work on it."""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import subprocess
import sys
import time

import pytest
from tests_helpers import GOLDEN

from benchmarks.scaling import content
from rotationbench.config import project_root
from rotationbench.results import ResultStore

# Ray is looked for and not imported: it reads its environment when it is, and tests of one process share that.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
]

KILLS, SAMPLES, SEED = 10, 12, 0


def run(data, results, *settings):
    command = [
        *(sys.executable, "run.py", "method=dragdiffusion", "method.lora=null", "method.max_steps=8", "device=cpu"),
        *("model=local", f"model.pretrained={GOLDEN / 'tinyA'}", "model.resolution=64", "model.num_inference_steps=4"),
        *("data=folder", f"data.root={data}", "metrics=none", "cache_dir=null", "sheet_rows=1"),
        *(f"results_dir={results}", *settings),
    ]
    log = results.with_suffix(".log").open("w")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=project_root(), env=environment, stdout=log, stderr=subprocess.STDOUT)


def edits(results):
    """What was made, without times and place; all of it is done."""
    found = list(ResultStore(results).edits())
    assert all(edit.done for edit in found)
    return content(found)


@pytest.fixture
def cluster(monkeypatch):
    """A head with one core, to which nodes are added; everything listens on loopback."""
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("PYTHONPATH", str(project_root()))
    from ray.cluster_utils import Cluster

    cluster = Cluster(head_node_args={"num_cpus": 1, "node_ip_address": "127.0.0.1"}, initialize_head=True)
    yield cluster
    cluster.shutdown()


def test_a_killed_node_costs_nothing_but_the_edits_in_flight(cluster, tmp_path):
    for number in range(SAMPLES):
        shutil.copytree(GOLDEN / "cases" / ("cat", "rocket", "cat2")[number % 3], tmp_path / "data" / f"s{number:02d}")
    alone = tmp_path / "alone"
    assert run(tmp_path / "data", alone).wait() == 0
    expected = edits(alone)
    assert len(expected) == SAMPLES

    moments = random.Random(SEED)
    for number in range(KILLS):
        node = cluster.add_node(num_cpus=1, node_ip_address="127.0.0.1")
        results = tmp_path / f"results-{number}"
        process = run(
            tmp_path / "data", results, "engine=ray", f"engine.address={cluster.address}", "engine.patience=60"
        )
        # At a moment between the first edit and the last but two.
        enough = moments.randint(1, SAMPLES - 2)
        while len(list(results.glob("dragdiffusion/*/record.json"))) < enough:
            assert process.poll() is None, results.with_suffix(".log").read_text()
            time.sleep(0.02)
        cluster.remove_node(node, allow_graceful=False)
        assert process.wait() == 0, results.with_suffix(".log").read_text()
        assert edits(results) == expected
        assert not list(results.rglob(".tmp-*"))


def test_a_run_without_an_address_starts_a_cluster_beside_the_one_that_is_there(cluster, tmp_path):
    shutil.copytree(GOLDEN / "cases" / "cat", tmp_path / "data" / "cat")
    process = run(tmp_path / "data", tmp_path / "results", "engine=ray", "workers=1")
    assert process.wait() == 0, (tmp_path / "results.log").read_text()
    assert list(edits(tmp_path / "results")) == [("dragdiffusion", "cat")]
