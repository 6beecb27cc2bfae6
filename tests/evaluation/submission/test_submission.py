from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synthetic_results import write_edit, write_results
from tests_helpers import compose_config

from evaluation.submission import submit, verify
from evaluation.submission.archive import MANIFEST, canonical, open_submission
from evaluation.suite import MetricSuite
from rotationbench.errors import ConfigError, DatasetError
from rotationbench.results import SAMPLES, ResultStore

METRICS = ["psnr", "psnr_target", "rotation_error"]


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """Three samples edited by three methods, measured; and one failure."""
    root = write_results(tmp_path_factory.mktemp("results") / "mine", samples=3, side=96)
    store, suite = ResultStore(root), MetricSuite(METRICS, device="cpu")
    write_edit(root, store.sample("blob000"), "broken", None)
    for edit in store.edits():
        if edit.done:
            suite.evaluate_edit(edit, store.sample(edit.sample_name), None)
    return root


def submitted(results: Path, output: Path, *more: str) -> Path:
    assert submit.run(compose_config("task=submit", f"results_dir={results}", f"output={output}", *more)) == 0
    return output


def verified(path: Path, data: Path, *more: str) -> int:
    settings = ["data=folder", f"data.root={data}", "data.format=rotationbench", "device=cpu"]
    return verify.run(compose_config("task=verify", f"submission={path}", *settings, *more))


@pytest.fixture(scope="module")
def submission(results, tmp_path_factory) -> Path:
    return submitted(results, tmp_path_factory.mktemp("submission") / "mine.zip", "edits=true")


def rewritten(path: Path, copy: Path, change: Callable[[dict[str, bytes]], None], *, hashes: bool = True) -> Path:
    """A copy of a submission with other content, with hashes that say so or not."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    change(contents)
    if hashes:
        manifest = json.loads(contents.pop(MANIFEST))
        manifest["files"] = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        contents[MANIFEST] = canonical(manifest)
    with zipfile.ZipFile(copy, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return copy


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


def test_an_honest_submission_is_verified(results, submission, capsys):
    assert verified(submission, results / SAMPLES) == 0
    assert "10 edits of 3 samples, 3 measured again: nothing is wrong." in capsys.readouterr().out
    assert verified(submission, results / SAMPLES, "share=1") == 0
    assert "9 measured again" in capsys.readouterr().out


def one_metric(contents: dict[str, bytes]) -> None:
    name = "metrics/backwards/blob001.json"
    metrics = json.loads(contents[name])
    metrics["metrics"]["psnr"]["value"] += 5
    contents[name] = canonical(metrics)


def one_metric_everywhere(contents: dict[str, bytes]) -> None:
    one_metric(contents)
    manifest = json.loads(contents[MANIFEST])
    (entry,) = [e for e in manifest["edits"] if (e["label"], e["sample"]) == ("backwards", "blob001")]
    entry["values"]["psnr"] += 5
    contents[MANIFEST] = canonical(manifest)


def one_edit(contents: dict[str, bytes]) -> None:
    contents["edits/idle/blob002.png"] = contents["edits/truth/blob002.png"]


def one_file_more(contents: dict[str, bytes]) -> None:
    contents["edits/idle/extra.png"] = b""


@pytest.mark.parametrize(
    ("change", "hashes", "message"),
    [
        (one_metric, False, "metrics/backwards/blob001.json: expected SHA-256"),
        (
            one_metric,
            True,
            "backwards/blob001: expected submission.json to say what record and metrics say, got other values.psnr",
        ),
        (one_metric_everywhere, True, "backwards/blob001: psnr: expected "),
        (one_edit, False, "edits/idle/blob002.png: expected SHA-256"),
        (one_edit, True, "edits/idle/blob002.png: expected the picture that was recorded, got another."),
        (one_file_more, False, "edits/idle/extra.png: expected a line in submission.json, got none."),
    ],
)
def test_what_was_tampered_with_is_named(results, submission, tmp_path, capsys, change, hashes, message):
    tampered = rewritten(submission, tmp_path / "tampered.zip", change, hashes=hashes)
    assert verified(tampered, results / SAMPLES, "share=1") == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith(message) for line in lines), lines


def test_a_sample_of_another_version_is_named(results, submission, tmp_path, capsys):
    data = shutil.copytree(results / SAMPLES, tmp_path / "data")
    picture = data / "blob001" / "image.png"
    with Image.open(picture) as image:
        pixels = np.array(image)
    pixels[0, 0] ^= 1
    Image.fromarray(pixels).save(picture)
    shutil.rmtree(data / "blob002")
    assert verified(submission, data) == 1
    output = capsys.readouterr().out
    assert "sample blob001: expected version " in output
    assert "sample blob002: expected one of " in output and "got one that is not there" in output
    assert "sample blob000" not in output


def test_the_choice_is_seeded_and_not_known_before(submission):
    with open_submission(submission) as opened:
        names = [
            [f"{e['label']}/{e['sample']}" for e in verify.chosen_edits(opened, 0.1, seed)]
            for seed in (0, 0, *range(9))
        ]
    assert names[0] == names[1]
    assert len({tuple(chosen) for chosen in names}) > 1
    assert all([name.split("/")[0] for name in chosen] == ["backwards", "idle", "truth"] for chosen in names)


def broken(contents: dict[str, bytes]) -> None:
    contents[MANIFEST] = b"{"


def without_hash(contents: dict[str, bytes]) -> None:
    manifest = json.loads(contents[MANIFEST])
    manifest["samples"]["blob000"]["digest"] = "short"
    contents[MANIFEST] = canonical(manifest)


def twice(contents: dict[str, bytes]) -> None:
    manifest = json.loads(contents[MANIFEST])
    manifest["edits"].append(manifest["edits"][0])
    contents[MANIFEST] = canonical(manifest)


def leading_out(contents: dict[str, bytes]) -> None:
    manifest = json.loads(contents[MANIFEST])
    manifest["edits"][0]["label"] = "../x"
    contents[MANIFEST] = canonical(manifest)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (broken, r"^submission: .*submission\.json: expected JSON"),
        (without_hash, r"samples/blob000/digest: expected what schema\.json says"),
        (twice, r"expected each edit once, got backwards/blob000 2 times"),
        (leading_out, r"label: expected a name without slashes"),
        (lambda contents: contents.pop(MANIFEST), r"expected submission\.json in it, got none"),
        (lambda contents: contents.update({"../../x": b""}), r"^submission: .*expected names that stay inside"),
    ],
)
def test_what_is_no_submission_is_refused(submission, tmp_path, change, message):
    path = rewritten(submission, tmp_path / "x.zip", change, hashes=False)
    with pytest.raises(ConfigError, match=message):
        verified(path, tmp_path)


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"no archive")
    with pytest.raises(ConfigError, match=r"^submission: .*x\.zip: expected a folder or a zip archive"):
        verified(tmp_path / "x.zip", tmp_path)
