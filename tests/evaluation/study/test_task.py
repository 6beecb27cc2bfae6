from __future__ import annotations

from synthetic_results import write_results
from tests_helpers import compose_config

from evaluation.study.task import run as study_task


def test_the_task_makes_a_study_and_its_file(tmp_path):
    write_results(tmp_path / "results", samples=2, side=64)
    config = compose_config(
        "task=study",
        f"results_dir={tmp_path / 'results'}",
        "study.labels=[truth,idle]",
        "study.questions=2",
        "study.participants=2",
        f"study.static={tmp_path / 'study.html'}",
    )
    assert study_task(config) == 0
    assert (tmp_path / "study.html").is_file() and (tmp_path / "results" / "study" / "study.sqlite3").is_file()
    assert study_task(config) == 0
