"""`task=submit`: the edits of one or several results folders as one file."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from evaluation.report.collect import ResultsFolder, read_folders
from evaluation.submission.archive import canonical, entry_of, member_of, write_archive
from rotationbench.config import BenchmarkConfig, validated
from rotationbench.errors import ConfigError, DatasetError
from rotationbench.results import EDITED_FILE, METRICS_FILE, Edit, variant_of
from rotationbench.results.store import storage_errors

log = logging.getLogger(__name__)

SAMPLE_FACTS = ("digest", "full_digest", "split", "category", "angle", "pairs")
SHOWN_PROBLEMS = 20


@dataclass
class SubmitConfig(BenchmarkConfig):
    """Everything `task=submit` is told.

    Args:
        results_dir: a results folder or a list of folders.
        submission_name: what tables call it; None is the first folder's name.
        output: the file; None is the name with the ending `.zip`.
        edits: whether the edited pictures go along, so that others can measure them again.
    """

    results_dir: Any = "results"
    submission_name: str | None = None
    output: str | None = None
    edits: bool = False


def run(config: DictConfig) -> int:
    """Write the submission of `results_dir`.

    Returns:
        The exit status, 0.

    Raises:
        ConfigError: when a setting is wrong, or a results folder holds no edits.
        DatasetError: with every edit that cannot be submitted: damaged, not measured, or made from different samples.
        ResultsError: when the file cannot be written.
    """
    settings = validated(SubmitConfig, config)
    given = settings.results_dir if isinstance(settings.results_dir, list) else [settings.results_dir]
    if not given or not all(isinstance(root, str) for root in given):
        raise ConfigError(f"results_dir: expected a folder or a list of folders, got {settings.results_dir!r}.")
    folders = read_folders([Path(root) for root in given])
    name = settings.submission_name or folders[0].root.resolve().name
    path = Path(settings.output or f"{name}.zip").expanduser()
    manifest, members = submission_of(folders, name, with_edits=settings.edits)
    with storage_errors(path.parent):
        write_archive(path, manifest, members)
    log.info("Submission: %s, %d edits of %d samples", path, len(manifest["edits"]), len(manifest["samples"]))
    return 0


def submission_of(
    folders: Iterable[ResultsFolder], name: str, *, with_edits: bool
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The manifest, but for the hashes of files, and the other files of the submission of some folders.

    Raises:
        DatasetError: with every edit that cannot be submitted.
    """
    problems: list[str] = []
    entries: dict[tuple[str, str], dict[str, Any]] = {}
    samples: dict[str, dict[str, Any]] = {}
    members: dict[str, bytes] = {}
    versions: dict[str, str] = {}
    data: dict[str, None] = {}
    for edit in sorted((edit for folder in folders for edit in folder.edits), key=lambda edit: edit.folder.parts[-2:]):
        if fault := _fault(edit):
            problems.append(f"{edit.folder}: {fault}")
            continue
        record = public_record(edit.record)
        metrics = _metrics(edit)
        entry = entry_of(record, metrics)
        facts = {key: record["sample"].get(key) for key in SAMPLE_FACTS}
        if (key := (entry["label"], entry["sample"])) in entries:
            problems.append(
                f"{edit.folder}: expected each edit once, got another of {'/'.join(key)} in another folder."
            )
        if samples.setdefault(entry["sample"], facts) != facts:
            problems.append(f"{edit.folder}: expected one version of the sample {entry['sample']}, got two.")
        entries[key] = entry
        versions |= record.get("versions") or {}
        data[str((record.get("config") or {}).get("data", {}).get("name") or "unknown")] = None
        members[member_of("records", entry, "json")] = canonical(record)
        if metrics:
            members[member_of("metrics", entry, "json")] = canonical(metrics)
        if with_edits and entry["edited"] is not None:
            members[member_of("edits", entry, "png")] = (edit.folder / EDITED_FILE).read_bytes()
    if problems:
        more = len(problems) - SHOWN_PROBLEMS
        raise DatasetError([*problems[:SHOWN_PROBLEMS], *([f"{more} more cannot be submitted."] if more > 0 else [])])
    manifest = {
        "schema": 1,
        "name": name,
        "data": " + ".join(data),
        "versions": versions,
        "samples": samples,
        "edits": list(entries.values()),
    }
    return manifest, members


def public_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record without what is nobody else's business: places on the disk, and the code lines of a traceback."""
    kept = {key: value for key, value in record.items() if key != "remake"}
    kept |= {"variant": variant_of(dict(record)), "config": _without_places(record.get("config"))}
    if record.get("error"):
        kept["error"] = {key: value for key, value in record["error"].items() if key != "traceback"}
    return kept


def _fault(edit: Edit) -> str | None:
    """What keeps an edit from being submitted, as a sentence; None when nothing does."""
    if edit.damage is not None:
        return edit.damage
    record = edit.record
    if record.get("remake"):
        return "expected the edit that was asked for last, got an earlier one; run the benchmark again."
    if not record["sample"].get("full_digest"):
        return "expected a sample that could be read, got none."
    if record["status"] == "done":
        metrics = _metrics(edit)
        measured = (metrics.get("edited"), metrics.get("sample"))
        if not metrics.get("metrics") or measured != (
            record["files"].get(EDITED_FILE),
            record["sample"]["full_digest"],
        ):
            return "expected metrics of this very picture and sample, got none; run task=evaluate first."
    return None


def _metrics(edit: Edit) -> dict[str, Any]:
    path = edit.folder / METRICS_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _without_places(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_places(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_without_places(part) for part in value]
    if isinstance(value, str) and (value.startswith("~") or Path(value).is_absolute()):
        return f"…/{Path(value).name}"
    return value
