"""`task=leaderboard`: a page that ranks submissions, by data set and split; any host can serve it."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from evaluation.metrics.base import Metric
from evaluation.report.columns import BY_NAME, COLUMNS
from evaluation.report.statistics import estimate, means_by_sample, pooled_estimate
from evaluation.submission.archive import open_submission
from evaluation.submission.plots import intervals_plot, save_svg
from rotationbench.config import BenchmarkConfig, validated
from rotationbench.errors import ConfigError
from rotationbench.files import whole_file
from rotationbench.results.store import storage_errors

log = logging.getLogger(__name__)

PAGE = "index.html"
PLOTTED = 3
RANKED_BY = ("mean_distance", "rotation_error", "psnr_target", "image_fidelity", "st_lpips", "background_psnr", "psnr")
"""What boards are sorted by at first: the first of these that all submissions have."""


@dataclass
class PublishedRow:
    """A row that a paper prints; it stands beside the submissions and is not ranked.

    Args:
        method: what the paper calls it.
        source: the paper and the table.
        data: the data set of the boards that it stands on.
        values: by name of a metric.
        split: the split of those boards; None is all.
    """

    method: str = MISSING
    source: str = MISSING
    data: str = MISSING
    values: dict[str, float] = field(default_factory=dict)
    split: str | None = None


@dataclass
class LeaderboardConfig(BenchmarkConfig):
    """Everything `task=leaderboard` is told.

    Args:
        submissions: files, or globs of them.
        output: the folder of the page.
        title: its heading.
        published: a file with a list of `PublishedRow`; None is none.
    """

    submissions: Any = MISSING
    output: str = "leaderboard"
    title: str = "RotationBench"
    published: str | None = None


@dataclass(frozen=True, eq=False)
class Entrant:
    """What a board has a row for: the edits of one variant of one submission.

    Args:
        submission: the submission's name.
        variant: the label that repeated seeds share.
        table: one row per edit, with `sample`, `seed`, `status`, `pairs`, costs and metrics.
        measured_by: by metric, how it was measured, the seed left out.
        settings: those of the method and the model.
        versions: of what computed it.
    """

    submission: str
    variant: str
    table: pd.DataFrame
    measured_by: Mapping[str, str]
    settings: Mapping[str, Any]
    versions: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Board:
    """Entrants that were run on the very same samples.

    Args:
        data: the data set's name.
        split: of the samples; empty for those without one.
        version: tells these samples from others of the same names.
        samples: how many.
        entrants: the rows.
    """

    data: str
    split: str
    version: str
    samples: int
    entrants: list[Entrant]


def run(config: DictConfig) -> int:
    """Write the page of `submissions`.

    Returns:
        The exit status, 0.

    Raises:
        ConfigError: when a setting is wrong, or a file is no submission.
        ResultsError: when the page cannot be written.
    """
    settings = validated(LeaderboardConfig, config)
    paths = submission_paths(settings.submissions)
    published = [] if settings.published is None else published_rows(Path(settings.published).expanduser())
    boards = boards_of(paths)
    output = Path(settings.output).expanduser()
    with storage_errors(output):
        path = write_page(boards, published, output, settings.title)
    log.info("Leaderboard: %s, %d boards of %d submissions", path, len(boards), len(paths))
    return 0


def submission_paths(given: Any) -> list[Path]:
    """The files that a setting names, in order and each once.

    Raises:
        ConfigError: when it names none.
    """
    patterns = [given] if isinstance(given, str) else given
    if not isinstance(patterns, list) or not patterns or not all(isinstance(item, str) for item in patterns):
        raise ConfigError(f"submissions: expected files or globs of files, got {given!r}.")
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern).expanduser()
        matches = [path] if path.exists() else sorted(path.parent.glob(path.name))
        if not matches:
            raise ConfigError(f"submissions: expected files, got {pattern!r}, which names none.")
        found |= dict.fromkeys(matches)
    return list(found)


def published_rows(path: Path) -> list[PublishedRow]:
    """The rows of papers in a YAML file.

    Raises:
        ConfigError: when they cannot be read, or name a metric that there is not.
    """
    try:
        rows = OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, ValueError, YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"published: {path}: expected YAML, got: {' '.join(str(error).split())}.") from error
    if not isinstance(rows, list):
        raise ConfigError(f"published: {path}: expected a list of rows, got {type(rows).__name__}.")
    checked = [
        validated(PublishedRow, cast(dict[str, Any], row), where=f"published[{index}]")
        for index, row in enumerate(rows)
    ]
    for index, row in enumerate(checked):
        if unknown := row.values.keys() - BY_NAME.keys():
            raise ConfigError(
                f"published[{index}].values: expected names of metrics, got {', '.join(sorted(unknown))}."
            )
    return checked


def boards_of(paths: Sequence[Path]) -> list[Board]:
    """The boards of submissions: one for each data set, split and version of its samples.

    Raises:
        ConfigError: when a file is no submission, or two have one name.
    """
    boards: dict[tuple[str, str, str], Board] = {}
    names: dict[str, Path] = {}
    for path in paths:
        with open_submission(path) as submission:
            manifest = submission.manifest
        if (other := names.setdefault(manifest["name"], path)) != path:
            raise ConfigError(
                f"submissions: expected names of their own, got {manifest['name']!r} in {other} and {path}."
            )
        edits = pd.DataFrame(manifest["edits"])
        edits["split"] = [manifest["samples"][name]["split"] or "" for name in edits["sample"]]
        for (variant, split), part in edits.groupby(["variant", "split"], sort=True):
            samples = {name: manifest["samples"][name]["full_digest"] for name in sorted(set(part["sample"]))}
            version = hashlib.sha256(json.dumps(samples).encode()).hexdigest()[:12]
            board = boards.setdefault(
                (manifest["data"], split, version), Board(manifest["data"], split, version, len(samples), [])
            )
            board.entrants.append(_entrant(manifest, str(variant), part))
    return sorted(boards.values(), key=lambda board: (board.data, board.split, -board.samples, board.version))


def _entrant(manifest: Mapping[str, Any], variant: str, part: pd.DataFrame) -> Entrant:
    samples = manifest["samples"]
    table = pd.DataFrame(
        [
            {"sample": sample, "seed": seed, "status": status, "pairs": samples[sample]["pairs"]} | cost | values
            for sample, seed, status, cost, values in zip(
                part["sample"], part["seed"], part["status"], part["cost"], part["values"], strict=True
            )
        ]
    )
    for name in [name for name in BY_NAME if name in table]:
        table[name] = pd.to_numeric(table[name], errors="coerce").astype("Float64").astype("float64")
    ways: dict[str, dict[str, None]] = {}
    for entry in part["measured_by"]:
        for name, how in entry.items():
            ways.setdefault(name, {})[json.dumps({key: how[key] for key in how if key != "seed"}, sort_keys=True)] = (
                None
            )
    made = part[part["status"] == "done"]
    settings = (made if len(made) else part)["settings"].iloc[0]
    return Entrant(
        manifest["name"],
        variant,
        table,
        {name: " and ".join(sorted(found)) for name, found in ways.items()},
        settings,
        manifest["versions"],
    )


def board_data(board: Board, published: Sequence[PublishedRow]) -> dict[str, Any]:
    """What the page shows of a board, for JSON: columns, and a row per entrant and per row of a paper."""
    papers = [row for row in published if row.data == board.data and row.split in (None, board.split)]
    named = {name for entrant in board.entrants for name in entrant.table if entrant.table[name].notna().any()}
    columns = [metric for metric in COLUMNS if metric.name in named | {name for row in papers for name in row.values}]
    # What was not measured alike everywhere cannot be ranked.
    ways = {metric.name: {entrant.measured_by.get(metric.name) for entrant in board.entrants} for metric in columns}
    unlike = [name for name, found in ways.items() if len(found - {None}) > 1]
    rows = [_row(entrant, columns) for entrant in board.entrants]
    for row in papers:
        values = [[row.values[metric.name], None, None] if metric.name in row.values else None for metric in columns]
        rows.append(
            {"name": row.method, "from": row.source, "paper": True, "edits": None, "failed": None, "values": values}
        )
    ranked = [name for name in RANKED_BY if name in [metric.name for metric in columns] and name not in unlike]
    return {
        "title": f"{board.data}{f', {board.split}' if board.split else ''}",
        "samples": board.samples,
        "version": board.version,
        "columns": [
            {
                "name": metric.name,
                "title": metric.title,
                "better": metric.better,
                "digits": metric.digits,
                "unlike": metric.name in unlike,
                "cost": metric.table == "cost",
                "main": metric.main,
            }
            for metric in columns
        ],
        "rank": next(iter(ranked), None),
        "rows": rows,
    }


def _row(entrant: Entrant, columns: Sequence[Metric]) -> dict[str, Any]:
    table = entrant.table
    own = [metric for metric in columns if metric.name in table]
    means = means_by_sample(table, own)
    values: list[list[float | None] | None] = []
    for metric in columns:
        if metric.name not in table or table[metric.name].isna().all():
            values.append(None)
            continue
        found = (
            pooled_estimate(table[metric.name], table["pairs"], table["sample"])
            if metric.pooled
            else estimate(means[metric.name].to_numpy())
        )
        values.append([_finite(found.mean), _finite(found.low), _finite(found.high)])
    return {
        "name": entrant.variant,
        "from": entrant.submission,
        "paper": False,
        "edits": len(table),
        "seeds": int(table["seed"].nunique()),
        "failed": int((table["status"] != "done").sum()),
        "values": values,
        "settings": {"settings": entrant.settings, "versions": entrant.versions},
    }


def write_page(boards: Sequence[Board], published: Sequence[PublishedRow], output: Path, title: str) -> Path:
    """Write the page and its plots; returns the path of the page."""
    shown = []
    for index, board in enumerate(boards):
        data = board_data(board, published)
        data["plots"] = []
        places = [place for place, column in enumerate(data["columns"]) if column["main"] and not column["unlike"]]
        for place in places[:PLOTTED]:
            name = f"board{index + 1}-{data['columns'][place]['name']}"
            figure = intervals_plot(
                [(f"{row['name']} ({row['from']})", row["values"][place]) for row in data["rows"] if not row["paper"]],
                data["columns"][place]["title"],
                data["columns"][place]["better"],
            )
            save_svg(figure, output / "plots" / f"{name}.svg")
            data["plots"].append({"title": data["columns"][place]["title"], "path": f"plots/{name}.svg"})
        shown.append(data)
    environment = Environment(
        loader=PackageLoader("evaluation.submission"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    text = json.dumps(shown, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    # Nothing in it may end the script element.
    page = environment.get_template("leaderboard.html.j2").render(title=title, data=text.replace("<", "\\u003c"))
    with whole_file(output / PAGE) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return output / PAGE


def _finite(value: float) -> float | None:
    return None if math.isnan(value) or np.isinf(value) else round(value, 6)
