from __future__ import annotations

import json

import pytest
from submissions import rewritten, verified

from evaluation.submission.archive import MANIFEST, canonical
from rotationbench.errors import ConfigError


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
