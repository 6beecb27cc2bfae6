from __future__ import annotations

import subprocess
import sys

import pytest

from rotationbench.command_line import flags_first, jobs_of_sweep, refuse_null
from rotationbench.config import project_root

CONF = project_root() / "conf"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-m", "a=1,2"], ["-m", "a=1,2"]),
        (["a=1,2", "-m"], ["-m", "a=1,2"]),
        (["a=1", "--config-dir", "mine", "b=2", "-m", "c=3"], ["--config-dir", "mine", "-m", "a=1", "b=2", "c=3"]),
        (["a=1", "--config-dir=mine"], ["--config-dir=mine", "a=1"]),
        # The same text as a folder and as a setting.
        (["--config-dir", "a=1", "a=1", "-m"], ["--config-dir", "a=1", "-m", "a=1"]),
        (["a=1", "a=1", "-m"], ["-m", "a=1", "a=1"]),
        ([], []),
    ],
)
def test_flags_may_stand_anywhere(arguments, expected):
    assert flags_first(arguments) == expected


def test_a_flag_that_there_is_not_ends_the_run(capsys):
    with pytest.raises(SystemExit) as caught:
        flags_first(["a=1", "--bogus"])
    assert caught.value.code == 2
    assert "--bogus" in capsys.readouterr().err


def test_kind_25_a_choice_of_null_names_its_key():
    for setting in ("method=null", "task=NULL"):
        with pytest.raises(ValueError, match=rf"^{setting.partition('=')[0]}: expected .* or .*, got null\.$"):
            refuse_null(setting, CONF)
    for setting in ("label=null", "method=turn", "-m", "method=null,turn", "null"):
        refuse_null(setting, CONF)


@pytest.mark.parametrize(
    ("arguments", "jobs"),
    [
        (["-m", "a=1,2", "b=[x]"], [["-m", "a=1", "b=[x]"], ["-m", "a=2", "b=[x]"]]),
        (["-m", "a=1"], [["-m", "a=1"]]),
        (["a=1"], []),
        (["-m", "a=[1,"], []),
        (["-m"], [["-m"]]),
    ],
)
def test_a_sweep_is_taken_apart_into_its_jobs(arguments, jobs):
    assert jobs_of_sweep(arguments) == jobs


def test_kind_25_a_job_that_cannot_be_composed_does_not_end_the_sweep(tmp_path):
    arguments = [
        "-m",
        "method=bogus,turn,null",
        "method.feather=0.5,0.7",
        "limit=1",
        "data.subset=quick",
        "metrics=none",
    ]
    arguments += [f"results_dir={tmp_path / 'results'}", f"hydra.sweep.dir={tmp_path / 'sweep'}", "cache_dir=null"]
    command = [sys.executable, str(project_root() / "run.py"), *arguments, "device=cpu"]
    done = subprocess.run(command, cwd=project_root(), capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "Could not find 'method/bogus'" in done.stderr and "method: expected dragdiffusion, " in done.stderr
    assert "Traceback" not in done.stderr
    # They are labelled as in a sweep in which nothing is wrong.
    labels = {path.parent.parent.name for path in (tmp_path / "results").glob("*/*/record.json")}
    assert labels == {"turn-feather=0.5", "turn-feather=0.7"}
