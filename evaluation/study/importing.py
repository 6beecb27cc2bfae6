"""`task=study_import`: take in answers that were given in a file without a server."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.orm import Session

from evaluation.study.database import Database
from evaluation.study.participation import LONGEST_SECONDS, Participation, RefusedError, chosen_options
from evaluation.study.schema import Answer, Participant, Study
from evaluation.study.settings import MOST_LABELS, MOST_QUESTIONS, database_url
from rotationbench.config import BenchmarkConfig, validated
from rotationbench.errors import ConfigError, DatasetError
from rotationbench.files import file_fault

log = logging.getLogger(__name__)

LARGEST_FILE = 4 * 2**20
FORMAT = "rotationbench-study-answers"
STRICT = ConfigDict(extra="forbid", strict=True)


class SavedAnswer(BaseModel):
    """One answer of a file."""

    model_config = STRICT
    place: int = Field(ge=0, lt=3 * MOST_QUESTIONS)
    chosen: list[int] = Field(max_length=MOST_LABELS)
    seconds: float = Field(ge=0, le=LONGEST_SECONDS, allow_inf_nan=False)
    answered: float = Field(ge=0, le=1e11, allow_inf_nan=False)


class SavedAnswers(BaseModel):
    """A file of answers, as the page without a server saves it."""

    model_config = STRICT
    format: str = Field(pattern=f"^{FORMAT}$")
    version: int = Field(ge=1, le=1)
    study: str = Field(max_length=32)
    participant: str = Field(pattern="^[0-9a-f]{32}$")
    questionnaire: str = Field(pattern="^[0-9]{1,6}$")
    began: float = Field(ge=0, le=1e11, allow_inf_nan=False)
    language: str = Field(max_length=16)
    answers: list[SavedAnswer] = Field(max_length=3 * MOST_QUESTIONS)


@dataclass
class StudyImportSettings:
    """`study_import`: which files, into which study.

    Args:
        files: files of answers, or globs of them.
        database: as for `task=study`.
    """

    files: list[str] = field(default_factory=list)
    database: str | None = None


@dataclass
class StudyImportConfig(BenchmarkConfig):
    """Everything `task=study_import` is told."""

    study_import: StudyImportSettings = field(default_factory=StudyImportSettings)


def run(config: DictConfig) -> int:
    """Take in files of answers: all of them, or none when one cannot be used.

    Args:
        config: the composed configuration; see `StudyImportConfig`.

    Returns:
        The exit status, 0.

    Raises:
        RotationBenchError: when a setting or the database cannot be used.
        DatasetError: when files cannot be used, with every problem.
    """
    settings = validated(StudyImportConfig, config)
    own = settings.study_import
    database = Database(database_url(own.database, settings.results_dir), create=False)
    taken, known = import_answers(database, found_files(own.files))
    log.info("Took in the answers of %d participants; those of %d were there already.", taken, known)
    database.close()
    return 0


def found_files(patterns: Sequence[str]) -> list[Path]:
    """The files that names and globs mean.

    Raises:
        ConfigError: when one means no file.
    """
    found: list[Path] = []
    for pattern in patterns:
        path = Path(pattern).expanduser()
        files = [path] if path.exists() else sorted(path.parent.glob(path.name))
        if not files:
            raise ConfigError(f"study_import.files: expected files of answers, got {pattern!r}, which means none.")
        found += files
    if not found:
        raise ConfigError("study_import.files: expected files of answers, got none.")
    return list(dict.fromkeys(found))


def import_answers(database: Database, files: Sequence[Path]) -> tuple[int, int]:
    """Take in the answers of all files in one transaction.

    A file of someone whose answers are there adds those that are not there yet, and changes none.

    Args:
        database: of the study.
        files: the files.

    Returns:
        How many participants' answers were taken in, and how many had been there already.

    Raises:
        DatasetError: when files cannot be used; nothing is taken in then.
    """
    with database.reading() as session:
        if session.get(Study, 1) is None:
            raise ConfigError(f"study_import.database: expected a study in {database.name}, found none.")
    study = Participation(database, 0.0)
    problems, taken, known = [], 0, 0
    with database.writing() as session:
        for path in files:
            try:
                added = _add(session, study, _read(path, study.key))
            except (ConfigError, RefusedError) as error:
                problems.append(f"{path}: {error}")
                continue
            taken, known = taken + (added > 0), known + (added == 0)
        if problems:
            raise DatasetError(problems)
    return taken, known


def _read(path: Path, key: str) -> SavedAnswers:
    if fault := file_fault(path):
        raise ConfigError(f"expected a file of answers, got {fault}.")
    if path.stat().st_size > LARGEST_FILE:
        raise ConfigError(f"expected at most {LARGEST_FILE} bytes, got {path.stat().st_size}.")
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"expected JSON, got: {error}.") from error
    try:
        saved = SavedAnswers.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ConfigError(f"{where}: expected answers as the page saves them: {first['msg']}.") from error
    if saved.study != key:
        raise ConfigError(f"study: expected {key}, got {saved.study}: answers of another study.")
    return saved


def _add(session: Session, study: Participation, saved: SavedAnswers) -> int:
    """Store what is not there yet; returns how many answers that were."""
    number = int(saved.questionnaire)
    if number >= len(study.questionnaires):
        raise ConfigError(f"questionnaire: expected 0 to {len(study.questionnaires) - 1}, got {number}.")
    paper = study.questionnaires[number]
    if [answer.place for answer in saved.answers] != list(range(len(saved.answers))) or len(saved.answers) > len(paper):
        raise ConfigError(f"answers: expected those to the first questions of {len(paper)}, in their order.")
    options = [chosen_options(paper[answer.place], answer.chosen, study.kind) for answer in saved.answers]
    who = session.get(Participant, saved.participant)
    if who is not None and (who.withdrew is not None or who.questionnaire != number):
        raise ConfigError(
            "participant: expected someone with this questionnaire, got someone who withdrew or has another."
        )
    if who is None:
        who = Participant(
            id=saved.participant, questionnaire=number, language=saved.language, origin="file", began=saved.began
        )
        session.add(who)
        session.flush()
    added = 0
    for answer, chosen in zip(saved.answers, options, strict=True):
        there = session.get(Answer, (who.id, answer.place))
        if there is not None:
            if there.chosen != chosen:
                raise ConfigError(f"answers.{answer.place}: expected the answer that is there already, got another.")
            continue
        session.add(
            Answer(
                participant=who.id,
                place=answer.place,
                questionnaire=number,
                shown=list(paper[answer.place].options),
                chosen=chosen,
                seconds=answer.seconds,
                answered=min(answer.answered, time.time()),
            )
        )
        added += 1
    if saved.answers:
        who.seen = saved.answers[-1].answered
        who.finished = who.seen if len(saved.answers) == len(paper) else None
    session.flush()
    return added
