"""What `pip install .` gives: the wheel in an environment and a folder that know nothing of the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from rotationbench.config import project_root


@dataclass(frozen=True)
class Installed:
    """An environment into which the wheel was installed, and an empty folder to work in."""

    wheel: Path
    environment: Path
    folder: Path

    def run(self, *arguments: str, expected: int = 0) -> subprocess.CompletedProcess[str]:
        """The command `rotationbench`."""
        done = subprocess.run(
            [self.environment / "bin" / "rotationbench", *arguments],
            cwd=self.folder,
            env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == expected, done.stderr
        return done

    def python(self, *arguments: str) -> None:
        """The environment's interpreter."""
        command = [self.environment / "bin" / "python", *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def install(self, wheel: Path) -> None:
        """Install a wheel without what it depends on."""
        python = str(self.environment / "bin" / "python")
        command = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            python,
            "install",
            "-q",
            "--no-deps",
            "--no-index",
            str(wheel),
        ]
        subprocess.run(command, check=True, capture_output=True)


def built_wheel(project: Path, folder: Path) -> Path:
    """The wheel of a project, built into a folder."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(project)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Installed:
    root = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", root / "environment"], check=True)
    folder = root / "folder"
    folder.mkdir()
    made = Installed(built_wheel(project_root(), root / "dist"), root / "environment", folder)
    made.install(made.wheel)
    # The libraries are those of this process: gigabytes that need no second copy. Its own links to the checkout, which
    # are .pth files too, are not followed from there.
    (packages,) = (root / "environment").glob("lib/python*/site-packages")
    (packages / "libraries.pth").write_text(sysconfig.get_paths()["purelib"], encoding="utf-8")
    return made


def test_the_wheel_has_settings_data_and_model_and_nothing_of_the_workshop(installed):
    names = zipfile.ZipFile(installed.wheel).namelist()
    root = project_root()
    for folder in ("conf", "data"):
        wanted = {f"rotationbench/{path.relative_to(root)}" for path in (root / folder).rglob("*") if path.is_file()}
        assert wanted and wanted <= set(names)
    assert "evaluation/report/templates/report.html.j2" in names
    assert not [name for name in names if name.startswith(("tests", "tools", "benchmarks", "docs", "results"))]


def test_help_answers_within_a_second(installed):
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        assert "usage: rotationbench" in installed.run("--help").stdout
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 1


def test_an_edit_with_the_embedded_model_in_a_folder_without_a_checkout(installed):
    mine = installed.folder / "mine" / "method"
    mine.mkdir(parents=True)
    (mine / "short.yaml").write_text(
        "defaults: [dragdiffusion, _self_]\nname: short\nmax_steps: 1\nlora: null\n", encoding="utf-8"
    )
    settings = ["method=short", "model.num_inference_steps=2", "data.split=in_domain", "metrics=[psnr]"]
    installed.run(*settings, "--config-dir", "mine", "samples=in-fish,in-tree", "-m", "device=cpu")
    table = pd.read_csv(installed.folder / "results" / "edits.csv")
    assert list(table["label"]) == ["short", "short"]
    assert list(table["sample"]) == ["in-fish", "in-tree"]
    assert set(table["status"]) == {"done"} and table["psnr"].notna().all()


def test_a_plugin_brings_a_method_and_a_metric_without_touching_the_project(installed):
    project = project_root() / "examples" / "rotationbench-plugin"
    files = [file for file in project.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    assert sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files) < 120
    installed.install(built_wheel(project, installed.folder / "plugin"))
    assert " | stamp | " in installed.run("--help").stdout
    listed = installed.run("list", "methods", "metrics").stdout.splitlines()
    for name in ("stamp", "sharpness_kept"):
        (line,) = [line for line in listed if line.split()[:1] == [name]]
        assert line.split()[1:3] == ["rotationbench-plugin", "0.1.0"]
    settings = ["method=stamp", "data.split=in_domain", "samples=in-fish", "metrics=[sharpness_kept]"]
    installed.run(*settings, "results_dir=stamped")
    table = pd.read_csv(installed.folder / "stamped" / "edits.csv")
    assert list(table["label"]) == ["stamp"]
    assert table["sharpness_kept"].notna().all()
    installed.python("-m", "pytest", "-q", "-p", "no:cacheprovider", str(project / "tests"), "-c", os.devnull)


@pytest.mark.slow
def test_results_are_submitted_verified_and_ranked(installed):
    edited = ["method=turn", "data.split=in_domain", "samples=[in-fish,in-tree]", "metrics=[psnr,rotation_error]"]
    installed.run(*edited, "results_dir=turned")
    installed.run("task=submit", "results_dir=turned", "edits=true")
    verified = installed.run("task=verify", "submission=turned.zip", "share=1")
    assert verified.stdout.endswith("2 edits of 2 samples, 2 measured again: nothing is wrong.\n")
    installed.run("task=leaderboard", "submissions=[turned.zip]")
    assert '"name":"turn"' in (installed.folder / "leaderboard" / "index.html").read_text(encoding="utf-8")
    content = bytearray((installed.folder / "turned.zip").read_bytes())
    content[content.index(b"\x89PNG") + 40] ^= 1
    (installed.folder / "tampered.zip").write_bytes(content)
    tampered = installed.run("task=verify", "submission=tampered.zip", expected=1)
    assert "edits/turn/in-fish.png: expected" in tampered.stdout
