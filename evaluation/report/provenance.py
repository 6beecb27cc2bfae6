"""Where results come from: what differs between folders and between methods, and what must not be compared."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from evaluation.metrics import METRICS
from evaluation.report.collect import ReportedVariant, ResultsFolder
from rotationbench.labels import NOT_OF_THE_EDIT
from rotationbench.results import Edit, MetricsFile, variant_of

SOURCES = (
    "config",
    "versions",
    "commit",
    "platform",
    "gpu",
    "weights_hash",
    "device",
    "dtype",
    "method_version",
)
"""Parts of a record that say how an edit was made."""
SHOWN_VALUES = 4


@dataclass(frozen=True)
class Difference:
    """A setting that is not the same in all edits of a method.

    Args:
        method: the method.
        key: the setting, dots between levels.
        values: per results folder, the values that its edits have.
    """

    method: str
    key: str
    values: dict[str, str]


def differing_settings(folders: Sequence[ResultsFolder]) -> list[Difference]:
    """What differs in configuration, versions and weights among the edits of one method, in and across folders."""
    found = []
    for method in sorted({variant for folder in folders for variant in folder.table["variant"]}):
        values: dict[str, dict[str, set[str]]] = {}
        for folder in folders:
            for edit in folder.edits:
                if edit.damage is None and variant_of(edit.record) == method:
                    for key, value in provenance(edit).items():
                        values.setdefault(key, {}).setdefault(folder.name, set()).add(value)
        folders_of_method = [folder.name for folder in folders if (folder.table["variant"] == method).any()]
        for key, by_folder in sorted(values.items()):
            # A key that some folder does not have at all differs as well.
            sets = [frozenset(by_folder.get(name, {"(not there)"})) for name in folders_of_method]
            if len(set(sets)) > 1 or len(sets[0]) > 1:
                shown = {name: _listing(part) for name, part in zip(folders_of_method, sets, strict=True)}
                found.append(Difference(method, key, shown))
    return found


def provenance(edit: Edit) -> dict[str, str]:
    """How an edit was made: setting → value as text, nested keys joined by dots."""
    flat: dict[str, str] = {}
    for source in SOURCES:
        value = edit.record.get(source)
        if source == "config" and value is not None:
            value = {key: part for key, part in value.items() if key not in NOT_OF_THE_EDIT}
        _flatten(source, value, flat)
    return flat


def measurements(folders: Sequence[ResultsFolder]) -> dict[str, dict[str, set[str]]]:
    """Per metric, how it was measured, and names of the variants that it was measured so for.

    The seed of the features' noise is the edit's own and is left out.
    """
    found: dict[str, dict[str, set[str]]] = {}
    for folder in folders:
        for edit in folder.edits:
            variant = ReportedVariant(variant_of(edit.record), folder.name)
            for name, measured_by in MetricsFile.read(edit.folder).measured_by.items():
                how = f"v{measured_by['revision']} {measured_by['tools']}".strip()
                found.setdefault(name, {}).setdefault(how, set()).add(variant.name)
    return found


def incomparable_metrics(folders: Sequence[ResultsFolder]) -> list[str]:
    """Names of the metrics that were not measured alike everywhere, in the order of the tables."""
    found = measurements(folders)
    return [metric.name for metric in METRICS if len(found.get(metric.name, {})) > 1]


def notices(folders: Sequence[ResultsFolder], table: pd.DataFrame) -> list[str]:
    """What a reader of means must know: failures, unequal samples, metrics measured in several ways or not at all.

    Args:
        folders: the results folders.
        table: the rows that the means are made from; see `evaluation.report.collect.edits_frame`.
    """
    found = []
    counts = table.groupby("variant").size()
    for wrong, what in (
        (table["status"] == "failed", "failed"),
        (table["status"] == "damaged", "cannot be read and count as not made"),
        (_marked(table, "unchanged"), "equal their source picture"),
        (_marked(table, "unmoved"), "were made without moving a handle"),
    ):
        found += [
            f"{name}: {n} of {counts[name]} edits {what}." for name, n in table[wrong].groupby("variant").size().items()
        ]
    sets = {name: frozenset(part["sample"]) for name, part in table.groupby("variant")}
    if len(set(sets.values())) > 1:
        counts = ", ".join(f"{name} {len(names)}" for name, names in sets.items())
        found.append(
            f"The methods were run on different samples ({counts}; {len(frozenset.intersection(*sets.values()))} in "
            "common). Each mean is over the method's own samples; only the paired comparison is on common ones."
        )
    done = table[table["status"] == "done"]
    for metric in METRICS:
        if metric.name in done and done[metric.name].notna().any():
            unmeasured = [name for name, part in done.groupby("variant") if part[metric.name].isna().all()]
            if unmeasured:
                found.append(f"{metric.label}: no value at all for {', '.join(map(str, unmeasured))}.")
    for name in incomparable_metrics(folders):
        listing = "; ".join(
            f"{how} ({', '.join(sorted(variants))})" for how, variants in measurements(folders)[name].items()
        )
        found.append(f"{name} was measured in different ways and is left out of comparisons: {listing}.")
    return found


def _marked(table: pd.DataFrame, mark: str) -> pd.Series:
    return (table["status"] == "done") & table[mark].fillna(False).astype(bool)


def _flatten(prefix: str, value: Any, flat: dict[str, str]) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _flatten(f"{prefix}.{key}", inner, flat)
    else:
        flat[prefix] = value if isinstance(value, str) else json.dumps(value)


def _listing(values: frozenset[str]) -> str:
    shown = sorted(values)
    more = f", … ({len(shown)} values)" if len(shown) > SHOWN_VALUES else ""
    return ", ".join(shown[:SHOWN_VALUES]) + more
