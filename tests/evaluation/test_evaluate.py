"""`task=evaluate` on results with known answers."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from synthetic_results import ANGLES, make_sample, write_edit, write_results

from evaluation.evaluate import run
from evaluation.report.build import run as report
from evaluation.report.collect import read_folders
from rotationbench.datasets import write_sample
from rotationbench.errors import CheckpointError, ConfigError
from rotationbench.files import read_json
from rotationbench.results import SAMPLES, ResultStore
from rotationbench.results import edit as reading

ROOT = Path(__file__).resolve().parents[2]
CHEAP = "[psnr,psnr_target,background_psnr,rotation_error]"


def evaluate(root: Path, *overrides: str) -> int:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return run(compose("config", ["task=evaluate", f"results_dir={root}", "device=cpu", *overrides]))


@pytest.fixture
def results(tmp_path) -> Path:
    return write_results(tmp_path / "results", samples=2, side=96)


def test_known_methods_get_their_known_values(results, capsys):
    assert evaluate(results, f"metrics={CHEAP}") == 0
    table = pd.read_parquet(results / "edits.parquet")
    assert len(table) == 6
    identity = ["method", "label", "sample", "seed", "split", "category", "angle", "status", "seconds", "unet_calls"]
    assert set(identity) <= set(table.columns)
    by_method = {name: part.set_index("sample") for name, part in table.groupby("method")}
    assert (by_method["truth"]["psnr_target"] == math.inf).all()
    assert (by_method["idle"]["psnr"] == math.inf).all()
    asked = np.abs(ANGLES[:2])
    np.testing.assert_allclose(by_method["truth"]["rotation_error"], 0, atol=2)
    np.testing.assert_allclose(by_method["idle"]["rotation_error"], asked, atol=0.5)
    np.testing.assert_allclose(by_method["backwards"]["rotation_error"], 2 * asked, atol=2)
    assert "| truth | 2 | 0 |" in capsys.readouterr().out


def test_a_second_run_measures_nothing_and_an_interrupted_one_goes_on(results, monkeypatch):
    evaluate(results, f"metrics={CHEAP}")
    before = {path: path.stat().st_mtime_ns for path in results.glob("*/*/metrics.json")}
    lost = results / "idle" / "blob000" / "metrics.json"
    lost.unlink()
    assert evaluate(results, f"metrics={CHEAP}") == 0
    after = {path: path.stat().st_mtime_ns for path in results.glob("*/*/metrics.json")}
    assert [path for path in after if after[path] != before[path]] == [lost]
    assert evaluate(results, f"metrics={CHEAP}", "overwrite=true", "samples=blob001") == 0
    again = {path for path in results.glob("*/*/metrics.json") if path.stat().st_mtime_ns != after[path]}
    assert {path.parent.name for path in again} == {"blob001"}


def test_kind_38_records_are_read_once_and_then_not_until_they_are_written_again(results, monkeypatch, caplog):
    read = []
    monkeypatch.setattr(reading, "read_json", lambda path: read.append(path) or read_json(path))
    records = sorted(results.glob("*/*/record.json"))
    evaluate(results, "metrics=none")
    assert sorted(read) == records
    read.clear()
    assert evaluate(results, "metrics=none") == 0
    assert read == []
    records[0].write_text("{")
    assert evaluate(results, "metrics=none") == 0
    assert read == records[:1]
    assert sum(str(records[0]) in line.message for line in caplog.records) == 1


def test_failed_edits_are_rows_without_values(results):
    write_edit(results, make_sample(1, 96), "backwards", None)
    assert evaluate(results, "metrics=[psnr]") == 0
    table = pd.read_parquet(results / "edits.parquet").set_index(["label", "sample"])
    assert table.loc[("backwards", "blob001"), "status"] == "failed"
    assert np.isnan(table.loc[("backwards", "blob001"), "psnr"])


def test_a_damaged_picture_is_named_and_the_others_are_measured(results, caplog):
    record_file = results / "idle" / "blob000" / "record.json"
    record = json.loads(record_file.read_text())
    (results / "idle" / "blob000" / "edited.png").write_bytes(b"no picture")
    record["files"]["edited.png"] = hashlib.sha256(b"no picture").hexdigest()
    record["sizes"]["edited.png"] = len(b"no picture")
    record_file.write_text(json.dumps(record))
    assert evaluate(results, "metrics=[psnr]") == 1
    assert "edited.png: expected a picture" in caplog.text
    assert (results / "idle" / "blob001" / "metrics.json").is_file()


def test_edits_of_another_sample_than_the_kept_one_are_not_measured(results, caplog):
    other = make_sample(0, 96, angle=77)
    write_sample(results / SAMPLES / other.name, other)
    assert evaluate(results, "metrics=[psnr]") == 1
    assert "blob000: not measured" in caplog.text
    assert not (results / "idle" / "blob000" / "metrics.json").exists()


def test_a_folder_without_edits_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="expected a folder with edits"):
        evaluate(tmp_path, "metrics=none")


def test_the_mean_distance_takes_the_configured_model(results, caplog):
    model = ROOT / "tests" / "golden" / "tinyA"
    settings = [f"model.pretrained={model}", "model.num_inference_steps=10", "metrics=mean_distance", "samples=blob000"]
    assert evaluate(results, *settings, "+evaluator.dift={ensemble: 1}") == 0
    assert "edits were made with 111111111111" in caplog.text
    content = json.loads((results / "truth" / "blob000" / "metrics.json").read_text())
    assert "timestep=261 up_block=1 ensemble=1" in content["metrics"]["mean_distance"]["measured_by"]["tools"]


def test_kind_5_nothing_is_removed_before_its_replacement_is_there(results):
    assert evaluate(results, "metrics=[psnr,ssim]") == 0
    files = sorted(results.glob("*/*/metrics.json"))
    before = [file.read_bytes() for file in files]
    with pytest.raises(CheckpointError):
        evaluate(
            results, "metrics=[mean_distance]", "overwrite=true", "model=local", "model.pretrained=/nowhere/at/all"
        )
    assert [file.read_bytes() for file in files] == before
    # Values that are not asked for stay.
    assert evaluate(results, "metrics=[psnr]", "overwrite=true") == 0
    assert all({"psnr", "ssim"} == json.loads(file.read_text())["metrics"].keys() for file in files)


def test_kind_38_with_nothing_to_do_no_picture_and_no_sample_is_read(results, monkeypatch):
    assert evaluate(results, "metrics=[psnr]") == 0
    monkeypatch.setattr(ResultStore, "sample", lambda *_: pytest.fail("a sample was read"))
    monkeypatch.setattr("evaluation.suite._read_picture", lambda *_: pytest.fail("a picture was read"))
    assert evaluate(results, "metrics=[psnr]") == 0


def test_kind_28_a_results_folder_in_the_home_folder_is_found(results, monkeypatch):
    monkeypatch.setenv("HOME", str(results.parent))
    # Hydra wants quotes around it.
    place = f"results_dir='~/{results.name}'"
    assert evaluate(results.parent / "nowhere", "metrics=[psnr]", place) == 0
    assert read_folders([Path("~") / results.name])[0].root == results
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        assert report(compose("config", ["task=report", place])) == 0
    assert (results / "report" / "report.html").is_file()
