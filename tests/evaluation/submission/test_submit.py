from __future__ import annotations

import json
import shutil

import pytest
from submissions import METRICS, submitted, verified

from evaluation.submission import submit
from evaluation.submission.archive import MANIFEST, open_submission
from rotationbench.errors import DatasetError
from rotationbench.results import SAMPLES


def test_the_same_results_give_the_same_bytes(results, submission, tmp_path):
    # Neither the time nor the place has a part in it.
    moved = shutil.copytree(results, tmp_path / "elsewhere" / "mine")
    again = submitted(moved, tmp_path / "again.zip", "edits=true")
    assert again.read_bytes() == submission.read_bytes()


def test_a_submission_has_what_it_takes_to_judge_it(submission):
    with open_submission(submission) as opened:
        manifest = opened.manifest
        assert len(manifest["edits"]) == 10 and len(manifest["samples"]) == 3
        assert {"records/truth/blob000.json", "metrics/truth/blob000.json", "edits/truth/blob000.png"} <= opened.names
        assert manifest["files"].keys() == opened.names - {MANIFEST}
        (failed,) = [entry for entry in manifest["edits"] if entry["status"] == "failed"]
        assert failed["edited"] is None and failed["values"] == {}
        record = json.loads(opened.read("records/broken/blob000.json"))
        assert "traceback" not in record["error"]
        truth = next(entry for entry in manifest["edits"] if entry["label"] == "truth")
        assert truth["values"].keys() == set(METRICS) and truth["values"]["psnr_target"] == "inf"
        assert manifest["versions"]["torch"] == "2.0"


def test_places_on_the_disk_stay_there():
    config = {"data": {"root": "/home/me/secret/photos"}, "list": ["~/x", "plain"], "limit": 3}
    public = submit.public_record({"config": config, "label": "a", "variant": "a", "remake": None})["config"]
    assert public == {"data": {"root": "…/photos"}, "list": ["…/x", "plain"], "limit": 3}


def test_without_pictures_the_file_is_small(results, submission, tmp_path):
    small = submitted(results, tmp_path / "small.zip")
    assert small.stat().st_size < submission.stat().st_size / 2
    assert verified(small, results / SAMPLES) == 0


def test_what_is_not_measured_is_not_submitted(results, tmp_path):
    copy = shutil.copytree(results, tmp_path / "copy")
    (copy / "truth" / "blob001" / "metrics.json").unlink()
    with pytest.raises(DatasetError, match=r"truth/blob001: expected metrics of this very picture.*task=evaluate"):
        submitted(copy, tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists()


def test_the_same_edit_in_two_folders_is_refused(results, tmp_path):
    copy = shutil.copytree(results, tmp_path / "copy")
    with pytest.raises(DatasetError, match=r"expected each edit once, got another of truth/blob000"):
        submitted(f"[{results},{copy}]", tmp_path / "x.zip")
