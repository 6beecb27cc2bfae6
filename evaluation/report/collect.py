"""Results folders, read: one row per edit with its identity, cost and metrics."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from evaluation.metrics import METRICS
from evaluation.report.columns import BY_NAME
from rotationbench.errors import ConfigError, DatasetError
from rotationbench.results import Edit, ResultStore, edits_table
from rotationbench.rotation import wrap_degrees

ANGLE_EDGES = (0, 30, 60, 90, 120, 150, 180)
"""Edges in degrees of the bins of the size of the wanted turn."""
ANGLE_BINS = tuple(f"{low}°–{high}°" for low, high in itertools.pairwise(ANGLE_EDGES))
IDENTITY = ("variant", "method", "label", "sample", "seed", "split", "category", "angle", "status")


@dataclass(frozen=True)
class ReportedVariant:
    """What a report has a row, a colour and a line for.

    Args:
        variant: the label that repeated seeds share.
        folder: name of the results folder; empty in a report of one folder.

    >>> ReportedVariant("rotationdrag", "mine").name
    'rotationdrag @ mine'
    """

    variant: str
    folder: str = ""

    @property
    def name(self) -> str:
        """How tables and plots call it."""
        return f"{self.variant} @ {self.folder}" if self.folder else self.variant


@dataclass(frozen=True, eq=False)
class ResultsFolder:
    """A results folder as it was read.

    Args:
        root: the folder.
        name: what tells it from the other folders of the same report.
        edits: all edits, failed ones included.
        table: one row per edit, in the order of `edits`; see `edits_frame`.
    """

    root: Path
    name: str
    edits: list[Edit]
    table: pd.DataFrame


def edits_frame(edits: Sequence[Edit]) -> pd.DataFrame:
    """The table of `rotationbench.results.edits_table` with `pairs`, `angle_bin`, and metrics in the order of tables.

    Metrics and costs are float64, NaN where there is no value.
    """
    table = edits_table(edits)
    table["pairs"] = [edit.record["sample"].get("pairs") for edit in edits]
    table["angle_bin"] = [angle_bin(angle) for angle in table["angle"]]
    for name in [name for name in BY_NAME if name in table]:
        table[name] = pd.to_numeric(table[name]).astype("Float64").astype("float64")
    measured = [metric.name for metric in METRICS if metric.name in table]
    for name in (name for name in measured if BY_NAME[name].ceiling is None):
        # Only ratios can be infinite; elsewhere a file was tampered with.
        table[name] = table[name].replace([math.inf, -math.inf], math.nan)
    others = [column for column in table if column not in IDENTITY and column not in measured]
    return table[[*IDENTITY, *others, *measured]]


def angle_bin(angle: float | None) -> str | None:
    """The bin of the size of a turn, such as `"30°–60°"`; None when the turn is unknown."""
    if angle is None or math.isnan(angle):
        return None
    size = abs(wrap_degrees(angle))
    return ANGLE_BINS[min(bisect.bisect_right(ANGLE_EDGES, size), len(ANGLE_BINS)) - 1]


def read_folders(roots: Iterable[Path]) -> list[ResultsFolder]:
    """Read results folders.

    Raises:
        ConfigError: when one of them does not exist or holds no edits.
        DatasetError: when edits of one sample name, in one folder or across folders, were made from different samples.
    """
    roots = [root.expanduser() for root in roots]
    folders = []
    for root, name in zip(roots, folder_names(roots), strict=True):
        edits = list(ResultStore(root).edits())
        require_edits(root, edits)
        folders.append(ResultsFolder(root, name, edits, edits_frame(edits)))
    require_same_samples({folder.root: folder.edits for folder in folders})
    return folders


def require_edits(root: Path, edits: Sequence[Edit]) -> None:
    """Make sure that there are edits in a results folder.

    Raises:
        ConfigError: when there are none.
    """
    if not edits:
        raise ConfigError(f"results_dir: expected a folder with edits (<label>/<sample>/record.json), got {root}.")


def folder_names(roots: Sequence[Path]) -> list[str]:
    """The last part of each path, with as many parts before it as it takes to tell them apart."""
    resolved = [root.resolve() for root in roots]
    for depth in range(1, max(len(root.parts) for root in resolved) + 1):
        names = ["/".join(root.parts[-depth:]) for root in resolved]
        if len(set(names)) == len(names):
            return names
    raise ConfigError(f"results_dir: expected different folders, got {', '.join(map(str, roots))}.")


def require_same_samples(folders: Mapping[Path, Sequence[Edit]]) -> None:
    """Make sure that a sample's name means the same picture, mask, prompt and points in all edits.

    Args:
        folders: the edits of each results folder.

    Raises:
        DatasetError: when it does not; it lists every such sample with its folders.
    """
    seen: dict[str, dict[str, set[str]]] = {}
    for root, edits in folders.items():
        for edit in edits:
            sample = edit.record["sample"]
            if sample.get("digest") is not None:
                seen.setdefault(sample["name"], {}).setdefault(sample["digest"], set()).add(str(root))
    problems = [
        f"{name}: expected edits of one sample, got {len(digests)} different ones ("
        + "; ".join(f"{digest[:12]} in {', '.join(sorted(roots))}" for digest, roots in sorted(digests.items()))
        + "). Results on different samples are not put into one mean."
        for name, digests in sorted(seen.items())
        if len(digests) > 1
    ]
    if problems:
        raise DatasetError(problems)
