"""A submission on disk: a zip archive with `submission.json`, and the records, metrics and edits that it sums up."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files as package_files
from pathlib import Path, PurePosixPath
from typing import Any

import jsonschema

from rotationbench.datasets.reading import Problems
from rotationbench.errors import ConfigError, DatasetError
from rotationbench.files import whole_file
from rotationbench.foreign import Files, open_files
from rotationbench.names import name_fault
from rotationbench.pictures import LARGEST_FILE_BYTES

MANIFEST = "submission.json"
LARGEST_MANIFEST_BYTES = 256 * 2**20
EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The time that every file in an archive has, so that the same results give the same bytes."""
READABLE_BY_ALL = 0o100644 << 16
UNIX = 3
COSTS = ("seconds", "unet_calls", "unet_images", "unet_grad_calls", "peak_memory_mb", "steps", "converged")


@dataclass(frozen=True, eq=False)
class Submission:
    """A submission whose manifest follows the schema.

    Args:
        path: where its archive lies.
        manifest: the content of `submission.json`.
        digest: SHA-256 of `submission.json`, which has the hashes of all else.
        files: the archive, open.
        names: the paths of all files in it.
    """

    path: Path
    manifest: dict[str, Any]
    digest: str
    files: Files
    names: frozenset[str]

    def read(self, name: str) -> bytes:
        """The bytes of a file of the archive.

        Raises:
            DatasetError: when there is no such file, or it cannot be unpacked.
        """
        problems = Problems()
        if name not in self.names:
            problems.expected(self.path / name, "a file, as submission.json lists it", "none")
            raise DatasetError(problems)
        content = self.files.read(PurePosixPath(name), problems, largest=LARGEST_FILE_BYTES)
        if content is None:
            raise DatasetError(problems)
        return content


def member_of(kind: str, entry: Mapping[str, Any], ending: str) -> str:
    """The path in an archive of what belongs to an edit, such as `records/<label>/<sample>.json`."""
    return f"{kind}/{entry['label']}/{entry['sample']}.{ending}"


def entry_of(record: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What the manifest says about an edit, from its record and the content of its `metrics.json`."""
    measured = metrics.get("metrics", {})
    config = record.get("config") or {}
    left = record.get("final_distances")
    return {
        "label": record["label"],
        "variant": record["variant"],
        "method": record["method"],
        "seed": record["seed"],
        "sample": record["sample"]["name"],
        "status": record["status"],
        "fingerprint": record["fingerprint"],
        "weights": record.get("model_hash") or record.get("weights_hash"),
        "edited": record["files"].get("edited.png"),
        "cost": {name: record.get(name) for name in COSTS}
        | {"final_distance": sum(left) / len(left) if left else None},
        "values": {name: entry["value"] for name, entry in measured.items()},
        "measured_by": {name: entry["measured_by"] for name, entry in measured.items()},
        "settings": {key: config.get(key) for key in ("method", "model", "dtype")} | {"device": record.get("device")},
    }


def canonical(content: Any) -> bytes:
    """JSON in which the same content has the same bytes."""
    return json.dumps(content, sort_keys=True, ensure_ascii=False, allow_nan=False, indent=1).encode() + b"\n"


def write_archive(path: Path, manifest: Mapping[str, Any], members: Mapping[str, bytes]) -> None:
    """Write a submission, whole or not at all; the same content gives the same bytes.

    Args:
        path: the archive.
        manifest: all of `submission.json` but `files`.
        members: the other files by their paths.
    """
    listed = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    contents = {MANIFEST: canonical({**manifest, "files": listed}), **members}
    with whole_file(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name in sorted(contents):
            member = zipfile.ZipInfo(name, EARLIEST)
            member.create_system, member.external_attr = UNIX, READABLE_BY_ALL
            # Pictures are packed already.
            member.compress_type = zipfile.ZIP_STORED if name.endswith(".png") else zipfile.ZIP_DEFLATED
            archive.writestr(member, contents[name], compresslevel=6)


@contextmanager
def open_submission(path: Path) -> Iterator[Submission]:
    """The submission at `path`.

    Raises:
        ConfigError: when it is no archive that can be trusted, or its manifest does not follow the schema.
    """
    try:
        with open_files(path) as files:
            yield _checked(path, files)
    except ConfigError as error:
        raise ConfigError(f"submission: {str(error).removeprefix('edits: ')}") from error


def _checked(path: Path, files: Files) -> Submission:
    problems = Problems()
    inside = frozenset(map(str, files.names()))
    if MANIFEST not in inside:
        raise ConfigError(f"{path}: expected {MANIFEST} in it, got none.")
    content = files.read(PurePosixPath(MANIFEST), problems, largest=LARGEST_MANIFEST_BYTES)
    if content is None:
        raise ConfigError(" ".join(problems))
    place = f"{path / MANIFEST}"
    try:
        manifest = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{place}: expected JSON, got: {error}.") from error
    if fault := next(_validator().iter_errors(manifest), None):
        where = "/".join(map(str, fault.absolute_path)) or "the whole"
        raise ConfigError(f"{place}: {where}: expected what schema.json says, got: {fault.message[:200]}.")
    for entry in manifest["edits"]:
        for key in ("label", "variant", "sample"):
            if wrong := name_fault(entry[key]):
                raise ConfigError(f"{place}: {key}: {wrong}.")
        if entry["sample"] not in manifest["samples"]:
            raise ConfigError(f"{place}: expected the sample {entry['sample']} among its samples, got none.")
    counts = Counter(f"{entry['label']}/{entry['sample']}" for entry in manifest["edits"])
    name, count = counts.most_common(1)[0]
    if count > 1:
        raise ConfigError(f"{place}: expected each edit once, got {name} {count} times.")
    return Submission(path, manifest, hashlib.sha256(content).hexdigest(), files, inside)


@lru_cache(maxsize=1)
def _validator() -> jsonschema.Draft202012Validator:
    text = package_files("evaluation.submission").joinpath("schema.json").read_text(encoding="utf-8")
    return jsonschema.Draft202012Validator(json.loads(text))
