"""`task=verify`: whether a submission is what it says, as far as that can be found out without making its edits."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import MISSING, DictConfig
from tqdm import tqdm

from evaluation.metrics import METRICS
from evaluation.submission.archive import MANIFEST, Submission, entry_of, member_of, open_submission
from evaluation.suite import MetricSuite
from rotationbench.config import BenchmarkConfig, build_core, build_evaluator, resolve_path, validated
from rotationbench.datasets import Dataset, open_dataset
from rotationbench.errors import ConfigError, DatasetError, RotationBenchError
from rotationbench.pictures import PictureError, read_rgb

log = logging.getLogger(__name__)

RELATIVE_TOLERANCE = 1e-3
"""What CPUs and number types make of the same pictures."""


@dataclass
class VerifyConfig(BenchmarkConfig):
    """Everything `task=verify` is told.

    Args:
        submission: the file.
        share: of the edits that come along, how many of each label are measured again, at least one; 0 measures none.
    """

    submission: str = MISSING
    share: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.share <= 1:
            raise ConfigError(f"share: expected 0 to 1, got {self.share}.")


def run(config: DictConfig) -> int:
    """Verify a submission and print what is wrong with it.

    Returns:
        The exit status: 0 when nothing is wrong, 1 when something is.

    Raises:
        ConfigError: when a setting is wrong, or the file is no submission.
        DatasetError: when the data set cannot be opened.
    """
    settings = validated(VerifyConfig, config)
    with open_submission(Path(settings.submission).expanduser()) as submission:
        data = settings.data
        split = "any" if data.split == "all" else data.split
        dataset = open_dataset(Path(resolve_path(data.root)), data.format, split=split, subset=data.subset, check=False)
        wrong = [*wrong_files(submission), *wrong_entries(submission), *wrong_samples(submission, dataset)]
        measured = 0
        if not wrong and settings.share > 0:
            chosen = chosen_edits(submission, settings.share, settings.seed)
            measured = len(chosen)
            wrong += _wrong_values(submission, chosen, dataset, settings)
        for problem in wrong:
            print(problem)
        counts = f"{len(submission.manifest['edits'])} edits of {len(submission.manifest['samples'])} samples"
        outcome = f"{len(wrong)} problems" if wrong else "nothing is wrong"
        print(f"{submission.path}: {counts}, {measured} measured again: {outcome}.")
    return 1 if wrong else 0


def wrong_files(submission: Submission) -> list[str]:
    """Files that are missing, left over, or not what their hashes say, a sentence each."""
    listed = submission.manifest["files"]
    problems = [f"{name}: expected a line in {MANIFEST}, got none." for name in submission.names - {MANIFEST, *listed}]
    for name, digest in listed.items():
        try:
            found = hashlib.sha256(submission.read(name)).hexdigest()
        except DatasetError as error:
            problems.extend(error.problems)
        else:
            if found != digest:
                problems.append(f"{name}: expected SHA-256 {digest[:12]}…, got {found[:12]}….")
    return sorted(problems)


def wrong_entries(submission: Submission) -> list[str]:
    """Edits of which the manifest says something else than their records, metrics and pictures, a sentence each."""
    problems = []
    for entry in submission.manifest["edits"]:
        name, edited = f"{entry['label']}/{entry['sample']}", member_of("edits", entry, "png")
        try:
            record = json.loads(submission.read(member_of("records", entry, "json")))
            metrics = member_of("metrics", entry, "json")
            content = json.loads(submission.read(metrics)) if entry["status"] == "done" else {}
            stated = entry_of(record, content)
            facts, sample = record["sample"], submission.manifest["samples"][entry["sample"]]
            different = {key for key in stated if stated[key] != entry[key]}
            different |= {f"sample.{key}" for key in sample if sample[key] != facts.get(key)}
            if content and (content["edited"], content["sample"]) != (entry["edited"], sample["full_digest"]):
                different.add("the picture or the sample that was measured")
        except (DatasetError, ValueError, KeyError, TypeError, AttributeError) as error:
            problems.append(f"{name}: expected a record and metrics, got: {' '.join(str(error).split())}.")
            continue
        if different:
            names = _names(different, entry, stated)
            problems.append(f"{name}: expected {MANIFEST} to say what record and metrics say, got other {names}.")
        if edited in submission.manifest["files"] and submission.manifest["files"][edited] != entry["edited"]:
            problems.append(f"{edited}: expected the picture that was recorded, got another.")
    return problems


def wrong_samples(submission: Submission, dataset: Dataset) -> list[str]:
    """Samples that the data set does not have, or has in another version, a sentence each."""
    problems = []
    for name, facts in submission.manifest["samples"].items():
        if name not in dataset.names:
            problems.append(f"sample {name}: expected one of {dataset.root}, got one that is not there.")
            continue
        here, there = dataset[name].full_digest[:12], facts["full_digest"][:12]
        if here != there:
            problems.append(f"sample {name}: expected version {here} as in {dataset.root}, got version {there}.")
    return problems


def chosen_edits(submission: Submission, share: float, seed: int) -> list[dict[str, Any]]:
    """A share of the edits of each label whose pictures come along, at least one of each.

    The choice hangs on the seed and on the submission's content, so that nobody can tell it before it is sent.
    """
    by_label: dict[str, list[dict[str, Any]]] = {}
    for entry in submission.manifest["edits"]:
        if member_of("edits", entry, "png") in submission.manifest["files"]:
            by_label.setdefault(entry["label"], []).append(entry)
    generator = random.Random(f"{seed} {submission.digest}")
    return [
        entry
        for label in sorted(by_label)
        for entry in generator.sample(by_label[label], math.ceil(share * len(by_label[label])))
    ]


def _wrong_values(
    submission: Submission, chosen: list[dict[str, Any]], dataset: Dataset, settings: VerifyConfig
) -> list[str]:
    if not chosen:
        log.warning("%s: no pictures come along, so that nothing is measured again.", submission.path)
        return []
    digits = {metric.name: metric.digits for metric in METRICS}
    names = sorted({name for entry in chosen for name in entry["values"]} & digits.keys())
    suite: MetricSuite = build_evaluator(settings.evaluator, metrics=names or "none", device=settings.device)
    core = None
    if suite.needs_core:
        core = build_core(settings.model, device=settings.device, dtype=settings.dtype, cache_dir=settings.cache_dir)
    problems, otherwise = [], dict[str, None]()
    for entry in tqdm(chosen, desc="verify", unit="edit", disable=None):
        path = member_of("edits", entry, "png")
        try:
            picture = read_rgb(submission.path / path, content=submission.read(path))
            found = suite.evaluate(dataset[entry["sample"]], picture, core, entry["seed"])
        except (RotationBenchError, PictureError, ValueError) as error:
            problems.append(f"{path}: expected an edit that can be measured, got: {' '.join(str(error).split())}")
            continue
        here = suite.measured_by(core, entry["seed"])
        for name in names:
            if entry["measured_by"].get(name) != here.get(name):
                otherwise[name] = None
            elif not same(entry["values"].get(name), found.get(name), digits[name]):
                problems.append(
                    f"{entry['label']}/{entry['sample']}: {name}: expected {found.get(name)} as measured here, got "
                    f"{entry['values'].get(name)}."
                )
    if otherwise:
        log.warning("Not measured as the submission did, by version, model or library: %s.", ", ".join(otherwise))
    return problems


def same(stated: float | str | None, measured: float | None, digits: int) -> bool:
    """Whether two values are the same to the last decimal that tables show, or to a thousandth.

    >>> same(31.251, 31.249, 2), same(31.3, 31.2, 2), same("inf", float("inf"), 2), same(None, 0.0, 2)
    (True, False, True, False)
    """
    if stated is None or measured is None:
        return stated is None and measured is None
    return bool(np.isclose(float(stated), measured, rtol=RELATIVE_TOLERANCE, atol=10.0**-digits))


def _names(different: set[str], entry: Mapping[str, Any], stated: Mapping[str, Any]) -> str:
    """What differs, of values the names."""
    named = different - {"values"}
    if "values" in different:
        before, now = stated["values"], entry["values"]
        named |= {f"values.{name}" for name in before.keys() | now.keys() if before.get(name) != now.get(name)}
    return ", ".join(sorted(named))
