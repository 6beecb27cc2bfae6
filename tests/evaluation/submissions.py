"""Making, changing and verifying a submission."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

from tests_helpers import compose_config

from evaluation.submission import submit, verify
from evaluation.submission.archive import MANIFEST, canonical

METRICS = ["psnr", "psnr_target", "rotation_error"]


def submitted(results: Path, output: Path, *more: str) -> Path:
    assert submit.run(compose_config("task=submit", f"results_dir={results}", f"output={output}", *more)) == 0
    return output


def verified(path: Path, data: Path, *more: str) -> int:
    settings = ["data=folder", f"data.root={data}", "data.format=rotationbench", "device=cpu"]
    return verify.run(compose_config("task=verify", f"submission={path}", *settings, *more))


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
