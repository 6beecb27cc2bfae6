from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from submissions import rewritten, verified

from evaluation.submission import verify
from evaluation.submission.archive import MANIFEST, canonical, open_submission
from rotationbench.results import SAMPLES


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
