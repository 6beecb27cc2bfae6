"""Making a study: its design and its pictures, once, in its database."""

from __future__ import annotations

import math
import secrets
import time
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from evaluation.study.database import Database
from evaluation.study.design import EXACT, UNCHANGED, Design, items, make_design
from evaluation.study.material import common_samples, edits_of, encoded, marked
from evaluation.study.rules import Rules
from evaluation.study.schema import Picture, Question, Sample, Seat, Study
from evaluation.study.settings import StudySettings
from rotationbench.config import BenchmarkConfig
from rotationbench.errors import ConfigError
from rotationbench.results import ResultStore

SETTLED = (
    "labels",
    "question",
    "participants",
    "questions",
    "repeats",
    "checks",
    "picture_side",
    "picture_quality",
)
"""Settings that a study is made from and that hold as long as it lasts."""


@dataclass
class StudyConfig(BenchmarkConfig):
    """Everything `task=study` is told."""

    study: StudySettings = field(default_factory=StudySettings)


def open_study(database: Database, settings: StudyConfig) -> bool:
    """Make the study unless it is there; of several servers that start together, one makes it and the others wait.

    Args:
        database: where it lies.
        settings: what it is made from. The study that is there must have been made from the same.

    Returns:
        Whether it was made.

    Raises:
        ConfigError: when another study is there, or it cannot be made from these settings.
        DatasetError: when an edit cannot be used.
    """
    rules = {item.name: getattr(settings.study, item.name) for item in fields(Rules)}
    with database.writing(alone=True) as session:
        study = session.get(Study, 1)
        if study is None:
            _make(session, settings, rules)
            return True
        _require_same(study.made_from, settings, database.name)
        study.rules = rules
    return False


def _require_same(made_from: dict[str, Any], settings: StudyConfig, where: str) -> None:
    for name in SETTLED:
        wanted = getattr(settings.study, name)
        if wanted != made_from[name] and not (name == "labels" and wanted is None):
            raise ConfigError(
                f"study.{name}: expected {made_from[name]!r}, which the study in {where} was made with, got {wanted!r}."
                " Another study needs a database of its own."
            )
    if settings.seed != made_from["seed"]:
        raise ConfigError(
            f"seed: expected {made_from['seed']}, which the study in {where} was made with, got {settings.seed}."
        )


def _make(session: Session, settings: StudyConfig, rules: dict[str, Any]) -> None:
    asked = settings.study
    if asked.labels is None:
        raise ConfigError("study.labels: expected 2 to 8 labels of the results folder, got none.")
    store = ResultStore(Path(settings.results_dir))
    names = common_samples(store, asked.labels, settings.samples, settings.limit)
    most = len(items(len(names), len(asked.labels), asked.question))
    if asked.questions > most:
        raise ConfigError(
            f"study.questions: expected at most {most}, which {len(names)} samples that all labels edited give, got "
            f"{asked.questions}."
        )
    session.add(
        Study(
            id=1,
            key=secrets.token_hex(8),
            secret=secrets.token_hex(32),
            kind=asked.question,
            labels=list(asked.labels),
            made_from={name: getattr(asked, name) for name in SETTLED} | {"seed": settings.seed, "samples": names},
            rules=rules,
            created=time.time(),
            closed=None,
        )
    )
    pictures: dict[tuple[int, int], str] = {}
    checkable = []
    for number, name in enumerate(names):
        found = _add_sample(session, store, number, name, settings)
        if EXACT in found:
            checkable.append(number)
        pictures |= {(number, option): token for option, token in found.items()}
    design = Design(
        samples=len(names),
        labels=len(asked.labels),
        kind=asked.question,
        participants=asked.participants,
        questions=asked.questions,
        repeats=min(math.floor(asked.repeats * asked.questions + 0.5), asked.questions // 2),
        checks=asked.checks,
        checkable=checkable,
        seed=settings.seed,
    )
    for questionnaire, paper in enumerate(make_design(design)):
        session.add(Seat(questionnaire=questionnaire, participant=None))
        session.add_all(
            Question(
                questionnaire=questionnaire,
                place=place,
                kind=question.kind,
                sample=question.sample,
                options=list(question.order),
                pictures=[pictures[question.sample, option] for option in question.order],
                repeats=question.repeats,
            )
            for place, question in enumerate(paper)
        )


def _add_sample(session: Session, store: ResultStore, number: int, name: str, settings: StudyConfig) -> dict[int, str]:
    """Store a sample and its pictures; returns the options' tokens."""
    sample, asked = store.sample(name), settings.study
    side, quality = asked.picture_side, asked.picture_quality
    contents: dict[int, bytes] = {
        option: encoded(edit, side, quality) for option, edit in enumerate(edits_of(store, sample, asked.labels or []))
    }
    plain = encoded(sample.image, side, quality)
    if sample.target is not None:
        contents |= {UNCHANGED: plain, EXACT: encoded(sample.target, side, quality)}
    tokens = {option: secrets.token_hex(8) for option in contents}
    figure, source = secrets.token_hex(8), secrets.token_hex(8)
    session.add(
        Sample(
            id=number,
            name=name,
            digest=sample.digest,
            split=sample.meta.split,
            category=sample.meta.category,
            angle=sample.meta.angle,
            width=sample.size[1],
            height=sample.size[0],
            figure=figure,
            plain=source,
        )
    )
    session.flush()
    session.add_all(
        Picture(token=token, sample=number, option=option, content=contents[option]) for option, token in tokens.items()
    )
    session.add(Picture(token=figure, sample=number, option=None, content=marked(sample, side)))
    session.add(Picture(token=source, sample=number, option=None, content=plain))
    session.flush()
    session.expunge_all()
    return tokens
