"""Studies for tests: made from synthetic results, once per session where nothing changes them."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import update
from synthetic_results import write_results

from evaluation.study.database import Database
from evaluation.study.design import EXACT, UNCHANGED
from evaluation.study.participation import Participation
from evaluation.study.schema import Answer, Participant, Study
from evaluation.study.settings import StudySettings, database_url
from evaluation.study.setup import StudyConfig, open_study

LABELS = ["truth", "idle", "backwards"]


def settings_of(root: Path, **changes: object) -> StudyConfig:
    """Settings of a small study of the results in `root`."""
    chosen = {"labels": LABELS, "participants": 4, "questions": 4, "repeats": 0.25, "checks": 1, "min_seconds": 0.0}
    return StudyConfig(results_dir=str(root), study=StudySettings(**(chosen | changes)))


def make_study(root: Path, **changes: object) -> Database:
    """A study of synthetic results in `root`, which are made unless they are there."""
    if not (root / "samples").is_dir():
        write_results(root, samples=6, side=96)
    settings = settings_of(root, **changes)
    database = Database(database_url(settings.study.database, root))
    open_study(database, settings)
    return database


def answer_study(database: Database, preferred: list[str], careless: int = 0) -> list[str]:
    """Let participants answer until the study is full; returns their ids.

    Args:
        database: of the study.
        preferred: labels from the best to the worst, in the eyes of all.
        careless: how many of them choose the untouched picture in checks.
    """
    study = Participation(database, 3600)
    with database.reading() as session:
        order = [session.get_one(Study, 1).labels.index(label) for label in preferred]
    people: list[str] = []
    while True:
        who, state = study.join(None, "en")
        if who is None:
            return people
        worth = [*order, EXACT, UNCHANGED] if len(people) >= careless else [*order, UNCHANGED, EXACT]
        with database.reading() as session:
            paper = study.questionnaires[session.get_one(Participant, who).questionnaire]
        while state["state"] == "question":
            options = paper[state["place"]].options
            chosen = sorted(range(len(options)), key=lambda position: worth.index(options[position]))
            state = study.answer(who, state["place"], chosen if state["kind"] == "rank" else chosen[:1], 3.0)
        with database.writing() as session:
            session.execute(update(Answer).where(Answer.participant == who).values(seconds=3.0))
        people.append(who)
