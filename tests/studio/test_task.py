"""`task=studio` itself: from the command line to the page, and what is wrong with its settings."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from omegaconf import OmegaConf
from studio_helpers import MODEL

from rotationbench.config import project_root
from studio.settings import StudioSettings

STARTING_SECONDS = 240


def command(folder: Path, *settings: str) -> list[str]:
    paths = (f"results_dir={folder / 'results'}", f"studio.samples={folder / 'samples'}")
    return [sys.executable, "run.py", "task=studio", "studio.port=0", "metrics=none", *MODEL, *paths, *settings]


@pytest.mark.slow
def test_the_command_serves_the_page_until_it_is_interrupted(tmp_path):
    errors = tmp_path / "errors"
    with errors.open("w") as stream:
        studio = subprocess.Popen(command(tmp_path, "studio.token=a-token-of-ours"), cwd=project_root(), stderr=stream)
    try:
        end = time.monotonic() + STARTING_SECONDS
        while not (found := re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", errors.read_text())):
            assert studio.poll() is None and time.monotonic() < end, errors.read_text()
            time.sleep(0.2)
        address = found[0]
        assert httpx.get(address.partition("?")[0]).status_code == 401
        with httpx.Client(follow_redirects=True) as client:
            assert "RotationBench studio" in client.get(address).text
            about = client.get(address.partition("?")[0] + "api/about").json()
            assert {"rotationdrag", "turn"} <= {method["name"] for method in about["methods"]}
            # A page that listens is no reason to wait, and none for a traceback.
            with client.stream("GET", address.partition("?")[0] + "api/events") as stream:
                assert next(stream.iter_lines()) == "retry: 1000"
                studio.send_signal(signal.SIGINT)
                assert studio.wait(60) == 0
        said = errors.read_text()
        assert said.endswith("The studio is closed.\n") and "ERROR" not in said
    finally:
        studio.kill()
        studio.wait()


def test_the_task_proposes_what_the_settings_have_by_themselves():
    proposed = OmegaConf.load(project_root() / "conf" / "task" / "studio.yaml").studio
    own = StudioSettings()
    for name, value in OmegaConf.to_container(proposed, resolve=False).items():
        if name != "data":
            assert value == getattr(own, name), name
