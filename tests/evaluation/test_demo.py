"""The table that closes the demonstration."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from synthetic_results import make_sample, write_edit

from evaluation.demo import EXACT, exact_results, run, tables_of, with_fitted_turns
from evaluation.suite import MetricSuite
from rotationbench.config import project_root
from rotationbench.datasets import write_sample
from rotationbench.errors import DatasetError
from rotationbench.results import SAMPLES, ResultStore
from rotationbench.rotation import turn_picture


def edit(label, split, angle, error, background=30.0):
    row = {"label": label, "sample": "cup", "split": split, "angle": angle, "rotation_error": error}
    return row | {"mean_distance": 4.0, "psnr_target": 20.0, "background_psnr": background, "seconds": 2.0}


def test_the_exact_result_comes_first_and_methods_by_the_turn_they_made():
    edits = pd.DataFrame(
        [
            edit("nothing", "in_domain", 40.0, 40.0, background=np.inf),
            edit("turner", "in_domain", -40.0, 10.0),
            edit("turner", "in_domain", 40.0, 30.0),
            edit("turner", "in_domain", 40.0, 20.0),
            edit("lost", "in_domain", 40.0, None),
            edit("backwards", "in_domain", 40.0, 80.0),
            edit(EXACT, "in_domain", 40.0, 0.0),
            edit("nothing", "real", 20.0, 20.0),
        ]
    )
    _, rendered, photographs = tables_of(edits).split("### ")
    rows = [line.split(" | ") for line in rendered.splitlines() if line.startswith("| ")][2:]
    assert [row[0].strip("| ") for row in rows] == [EXACT, "turner", "lost", "nothing", "backwards"]
    assert [row[1] for row in rows] == ["100", "50", "0", "0", "-100"]
    assert rows[3][4] == "identical"
    assert photographs.startswith("Photographs") and "| nothing | 0 |" in photographs


def test_exact_results_are_measured_like_edits(tmp_path):
    with_target, without = make_sample(0, 96), replace(make_sample(1, 96), target=None)
    for sample in (with_target, without):
        write_sample(tmp_path / SAMPLES / sample.name, sample)
    suite = MetricSuite(["psnr_target", "rotation_error"], device="cpu")
    table = exact_results(tmp_path, suite, None, seed=0)
    assert list(table["sample"]) == [with_target.name]
    assert np.isinf(table["psnr_target"][0]) and table["rotation_error"][0] < 3


def test_blurred_turns_are_fitted_on_plain_grounds_alone(tmp_path):
    store, rows = ResultStore(tmp_path), []
    for index, split in enumerate(("in_domain", "real", "in_domain")):
        sample = make_sample(index, 96, angle=40.0)
        sample = replace(sample, meta=replace(sample.meta, split=split))
        write_sample(tmp_path / SAMPLES / sample.name, sample)
        blurred = cv2.GaussianBlur(turn_picture(sample.image, sample.meta.pivot, 25.0), (0, 0), 2.0)
        write_edit(tmp_path, sample, "turner", blurred)
        error = 7.0 if index == 2 else None
        rows.append(edit("turner", split, 40.0, error) | {"sample": sample.name})
    fitted, photograph, measured = with_fitted_turns(pd.DataFrame(rows), store)["rotation_error"]
    assert fitted == pytest.approx(15.0, abs=4.0)
    assert np.isnan(photograph) and measured == 7.0


def test_a_demonstration_needs_edits(tmp_path):
    with initialize_config_dir(str(project_root() / "conf"), version_base="1.3"):
        config = compose("config", overrides=["task=demo", f"results_dir={tmp_path}"])
    with pytest.raises(DatasetError, match=r"edits\.parquet: expected the table of a benchmark run"):
        run(config)
