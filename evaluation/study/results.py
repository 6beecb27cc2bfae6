"""The results of a study: tables, figures and files, for `task=study_results` and for the report."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from omegaconf import DictConfig

from evaluation.report.collect import edits_frame
from evaluation.report.plots import save_plot
from evaluation.report.tables import Cell, Table, to_latex, to_markdown
from evaluation.study.agreement import Agreement, agreements
from evaluation.study.analysis import (
    ballots,
    kappa,
    mean_ranks,
    repeat_agreement,
    shares_by_group,
    strengths,
    vote_shares,
)
from evaluation.study.answers import Answers, flat, read_answers
from evaluation.study.database import Database
from evaluation.study.figures import ASKED, share_figure, strength_figure
from evaluation.study.intervals import Interval
from evaluation.study.paths import FOLDER
from evaluation.study.rules import Rules
from evaluation.study.schema import Study
from evaluation.study.settings import database_url
from rotationbench.config import BenchmarkConfig, validated
from rotationbench.errors import ConfigError
from rotationbench.files import whole_file, write_json
from rotationbench.results import ResultStore
from rotationbench.results.table import harmless

log = logging.getLogger(__name__)

NOTE = (
    "95 % intervals are for other people and other samples alike. Questions asked twice count once, checks not at all."
)


@dataclass
class StudyResultsSettings(Rules):
    """`study_results`: from which answers, and beside what.

    Args:
        database: as for `task=study`.
        published: shares of votes (0 to 1) of another study by label, to be drawn beside these.
        output: folder of the files; None is `study/results` in the results folder.

    Raises:
        ConfigError: when a value is out of its range.
    """

    database: str | None = None
    published: dict[str, float] | None = None
    output: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for label, value in (self.published or {}).items():
            if not 0 <= value <= 1:
                raise ConfigError(f"study_results.published.{label}: expected a share of 0 to 1, got {value}.")


@dataclass
class StudyResultsConfig(BenchmarkConfig):
    """Everything `task=study_results` is told."""

    study_results: StudyResultsSettings = field(default_factory=StudyResultsSettings)


@dataclass(frozen=True, eq=False)
class Results:
    """What a study found.

    Args:
        answers: what was answered.
        shares: of votes, per label.
        strengths: Bradley–Terry strengths in logits, per label.
        ranks: mean ranks per label; None unless labels were ranked.
        kappa: Fleiss' κ.
        repeats: share of the questions asked twice with the same answer.
        repeated: how many those were.
        groups: shares by split and by angle.
        metrics: how metrics go with votes.
    """

    answers: Answers
    shares: Interval
    strengths: Interval
    ranks: Interval | None
    kappa: Interval
    repeats: Interval
    repeated: int
    groups: Mapping[str, Mapping[str, tuple[Interval, int]]]
    metrics: list[Agreement]


def run(config: DictConfig) -> int:
    """Write the results of the study of `results_dir`.

    Args:
        config: the composed configuration; see `StudyResultsConfig`.

    Returns:
        The exit status, 0.

    Raises:
        RotationBenchError: when a setting or the database cannot be used, or nothing was answered.
    """
    settings = validated(StudyResultsConfig, config)
    own = settings.study_results
    root = Path(settings.results_dir)
    database = Database(database_url(own.database, root), create=False)
    results = study_results(database, root, Rules(own.failed_checks, own.min_seconds))
    published = own.published or {}
    unknown = sorted(set(published) - set(results.answers.labels))
    if unknown:
        raise ConfigError(
            f"study_results.published: expected labels among {', '.join(results.answers.labels)}, got "
            f"{', '.join(unknown)}."
        )
    output = Path(own.output) if own.output is not None else root / FOLDER / "results"
    write_results(results, output, published)
    for table in tables(results, published):
        print(to_markdown(table))
    log.info("Results: %s", output)
    return 0


def study_results(database: Database, root: Path, rules: Rules | None = None, *, seed: int = 0) -> Results:
    """Count and compare what was answered.

    Args:
        database: of the study.
        root: the results folder, whose metrics are compared with the votes.
        rules: whose answers are left out; None takes those that the server was started with last.
        seed: seed of the resampling.

    Raises:
        ConfigError: when the database has no study, or there are no votes that count.
    """
    with database.reading() as session:
        if session.get(Study, 1) is None:
            raise ConfigError(f"study.database: expected a study in {database.name}, found none.")
        answers = read_answers(session, rules)
    counted = answers.votes
    if counted.empty:
        raise ConfigError(
            f"study.database: expected votes in {database.name}, got none that count ({len(answers.table)} answers of "
            f"{len(answers.participants)} participants)."
        )
    votes = ballots(counted, answers.labels)
    repeats, repeated = repeat_agreement(answers, seed=seed)
    edits = [edit for edit in ResultStore(root).edits() if edit.label in answers.labels]
    return Results(
        answers=answers,
        shares=vote_shares(votes, seed=seed),
        strengths=strengths(votes, seed=seed),
        ranks=mean_ranks(votes, seed=seed) if answers.kind == "rank" else None,
        kappa=kappa(counted, answers.kind, seed=seed),
        repeats=repeats,
        repeated=repeated,
        groups=shares_by_group(answers, seed=seed),
        metrics=agreements(votes, edits_frame(edits), seed=seed) if edits else [],
    )


def tables(results: Results, published: Mapping[str, float]) -> list[Table]:
    """The results as tables: votes, votes by group, agreement of people, agreement of metrics."""
    answers = results.answers
    found = [_votes_table(results, published)]
    for grouping, groups in results.groups.items():
        header = [grouping, "votes", *answers.labels]
        rows = [
            [Cell(name), Cell(str(count)), *(Cell(text) for text in _percent(shares))]
            for name, (shares, count) in groups.items()
        ]
        found.append(Table(f"User study: votes by {grouping}", header, rows, [NOTE]))
    found.append(_people_table(results))
    if results.metrics:
        rows = [
            [
                Cell(item.metric.label),
                Cell(_between(item.per_sample.mean, item.per_sample.low, item.per_sample.high)),
                Cell(str(item.per_sample.samples)),
                Cell(_between(item.per_label, item.low, item.high)),
            ]
            for item in results.metrics
        ]
        note = (
            "Spearman's ρ with votes; 1: the better value always has more votes. Within each sample, mean over "
            "samples; and between the means of labels, of which there are few."
        )
        header = ["metric", "ρ per sample", "samples", "ρ per label"]
        found.append(Table("User study: do metrics agree with people?", header, rows, [note]))
    return found


def figures(results: Results, published: Mapping[str, float]) -> Iterator[tuple[str, str, Figure]]:
    """File name, caption and figure."""
    labels, kind = results.answers.labels, results.answers.kind
    people = results.answers.votes["participant"].nunique()
    yield (
        "figure4",
        f"User study ({people} participants, {len(results.answers.votes)} answers): {ASKED[kind]}, with 95 % "
        "intervals over people and samples" + ("; published shares as diamonds." if published else "."),
        share_figure(labels, results.shares, kind, published),
    )
    yield (
        "strengths",
        "User study: Bradley–Terry strengths with 95 % intervals.",
        strength_figure(labels, results.strengths),
    )


def write_results(results: Results, output: Path, published: Mapping[str, float]) -> None:
    """Write `answers.csv`, `participants.csv`, `results.json`, `results.md`, `results.tex` and the figures."""
    answers = results.answers
    for name, frame in (("answers", flat(answers)), ("participants", answers.participants)):
        with whole_file(output / f"{name}.csv") as temporary:
            harmless(frame).to_csv(temporary, index=False)
    write_json(output / "results.json", as_json(results, published))
    found = tables(results, published)
    for ending, text in (("md", "\n".join(map(to_markdown, found))), ("tex", "\n".join(map(to_latex, found)))):
        with whole_file(output / f"results.{ending}") as temporary:
            temporary.write_text(text, encoding="utf-8")
    for name, _, figure in figures(results, published):
        save_plot(figure, output, name)


def as_json(results: Results, published: Mapping[str, float]) -> dict[str, Any]:
    """Everything as numbers."""
    answers = results.answers
    left_out = answers.participants["reasons"] != ""
    return {
        "question": answers.kind,
        "labels": answers.labels,
        "participants": int((answers.participants["answered"] > 0).sum()),
        "left_out": answers.participants.loc[left_out, ["id", "reasons"]].to_dict("records"),
        "votes": len(answers.votes),
        "shares": _numbers(results.shares, answers.labels),
        "strengths": _numbers(results.strengths, answers.labels),
        "mean_ranks": None if results.ranks is None else _numbers(results.ranks, answers.labels),
        "kappa": _numbers(results.kappa, ["kappa"])["kappa"],
        "repeats": _numbers(results.repeats, ["same"])["same"] | {"questions": results.repeated},
        "groups": {
            grouping: {
                name: _numbers(shares, answers.labels) | {"votes": count} for name, (shares, count) in groups.items()
            }
            for grouping, groups in results.groups.items()
        },
        "metrics": {
            item.metric.name: {
                "per_sample": _plain(item.per_sample.mean, item.per_sample.low, item.per_sample.high),
                "samples": item.per_sample.samples,
                "per_label": _plain(item.per_label, item.low, item.high),
            }
            for item in results.metrics
        },
        "published": dict(published),
    }


def _votes_table(results: Results, published: Mapping[str, float]) -> Table:
    answers = results.answers
    votes = ballots(answers.votes, answers.labels)
    order = np.argsort(-results.shares.value, kind="stable")
    header = ["method", "shown", "chosen", ASKED[answers.kind], "strength [logits]"]
    header += ["mean rank"] if results.ranks is not None else []
    header += ["published [%]"] if published else []
    shares, logits = _percent(results.shares), _cells(results.strengths)
    rows = []
    for place, index in enumerate(order):
        label = answers.labels[index]
        row = [Cell(label), Cell(str(int(votes.shown[:, index].sum()))), Cell(str(int(votes.first[:, index].sum())))]
        row += [Cell(shares[index], rank=place + 1 if place < 2 else 0), Cell(logits[index])]
        row += [] if results.ranks is None else [Cell(_cells(results.ranks)[index])]
        row += [Cell(f"{100 * published[label]:.1f}" if label in published else "–")] if published else []
        rows.append(row)
    people = answers.participants
    out = int((people["reasons"] != "").sum())
    counted = f"{answers.votes['participant'].nunique()} participants, {len(answers.votes)} votes on "
    counted += f"{answers.votes['sample'].nunique()} samples; {out} left out."
    return Table("User study", header, rows, [counted, NOTE])


def _people_table(results: Results) -> Table:
    answers = results.answers
    rows = [
        [Cell("Fleiss' κ between people"), Cell(_cells(results.kappa)[0])],
        [Cell(f"same answer when asked twice ({results.repeated} questions) [%]"), Cell(_percent(results.repeats)[0])],
    ]
    rows += [
        [Cell(f"left out: participant {row.id[:6]}"), Cell(row.reasons)]
        for row in answers.participants.itertuples()
        if row.reasons
    ]
    return Table("User study: agreement of people", ["", "value"], rows, [])


def _percent(found: Interval) -> list[str]:
    return [
        _between(100 * value, 100 * low, 100 * high, digits=1)
        for value, low, high in zip(found.value, found.low, found.high, strict=True)
    ]


def _cells(found: Interval) -> list[str]:
    return [_between(*parts) for parts in zip(found.value, found.low, found.high, strict=True)]


def _between(value: float, low: float, high: float, digits: int = 2) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:.{digits}f}" + ("" if math.isnan(low) else f" [{low:.{digits}f}, {high:.{digits}f}]")


def _numbers(found: Interval, names: Sequence[str]) -> dict[str, dict[str, float | None]]:
    return {
        name: _plain(*parts)
        for name, parts in zip(names, zip(found.value, found.low, found.high, strict=True), strict=True)
    }


def _plain(value: float, low: float, high: float) -> dict[str, float | None]:
    parts = {"value": value, "low": low, "high": high}
    return {name: None if math.isnan(part) else float(part) for name, part in parts.items()}
