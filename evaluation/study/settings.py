"""`study`: what is asked, of how many people, and how the pages are served."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evaluation.study.paths import DATABASE_FILE, FOLDER
from evaluation.study.rules import Rules
from rotationbench.errors import ConfigError
from rotationbench.settings import check_between, check_choice

KINDS = ("best", "pairs", "rank")
"""What a question asks for: the best of all edits, the better of two, or all of them in order."""
FEWEST_LABELS, MOST_LABELS = 2, 8
MOST_PARTICIPANTS = 10_000
MOST_QUESTIONS = 1_000
SMALLEST_SIDE, LARGEST_SIDE = 64, 4096


@dataclass
class StudySettings(Rules):
    """`study`: a study and its server.

    What the questions are is settled when the study is made: `labels` to `picture_quality`. The rest can be another at
    every start.

    Args:
        labels: the edits to be compared, 2 to 8 labels of the results folder; None takes those of the study that is
            there.
        question: `"best"` of all edits, `"pairs"` (the better of two) or `"rank"` (all in order, the best first).
        participants: how many questionnaires there are; the study is full when each has its participant.
        questions: asked of each participant, repeats and checks not counted.
        repeats: share of the questions that are asked a second time, for the agreement of people with themselves.
        checks: questions per participant of which the answer is known: the untouched picture beside the exact result.
        picture_side: pixels of the pictures' long side at most.
        picture_quality: of WebP, 1 to 100; None stores pictures without loss.
        title: heading of the page.
        text: Markdown file with instructions and consent, in English; None is the one that comes with the package.
        translations: files such as `de.json`, each with `de.md` beside it: languages that the page can be read in.
        database: SQLAlchemy URL of SQLite or PostgreSQL; None is a file in the results folder.
        host: address that the server listens at.
        port: port that the server listens at; 0 takes a free one.
        public_url: where participants reach the server, for links; None is its own address.
        idle_hours: a questionnaire whose participant was away for longer is given to another.
        static: write this file, which asks the same questions without a server, and end.

    Raises:
        ConfigError: when a value is out of its range.
    """

    labels: list[str] | None = None
    question: str = "best"
    participants: int = 20
    questions: int = 25
    repeats: float = 0.1
    checks: int = 2
    picture_side: int = 768
    picture_quality: int | None = None
    title: str = "Which edit is best?"
    text: str | None = None
    translations: list[str] = field(default_factory=list)
    database: str | None = None
    host: str = "127.0.0.1"
    port: int = 8765
    public_url: str | None = None
    idle_hours: float = 24.0
    static: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, KINDS, "question", section="study")
        check_between(self, 1, MOST_PARTICIPANTS, "participants", section="study")
        check_between(self, 1, MOST_QUESTIONS, "questions", section="study")
        check_between(self, 0, 0.5, "repeats", section="study")
        check_between(self, 0, 20, "checks", section="study")
        check_between(self, SMALLEST_SIDE, LARGEST_SIDE, "picture_side", section="study")
        if self.picture_quality is not None:
            check_between(self, 1, 100, "picture_quality", section="study")
        check_between(self, 0, 65535, "port", section="study")
        check_between(self, 0.01, None, "idle_hours", section="study")
        if self.labels is not None:
            self._check_labels(self.labels)
        if self.public_url is not None and not self.public_url.startswith(("http://", "https://")):
            raise ConfigError(f"study.public_url: expected http://… or https://…, got {self.public_url!r}.")

    @staticmethod
    def _check_labels(labels: list[str]) -> None:
        if not FEWEST_LABELS <= len(labels) <= MOST_LABELS:
            raise ConfigError(f"study.labels: expected {FEWEST_LABELS} to {MOST_LABELS} labels, got {len(labels)}.")
        if len(set(labels)) < len(labels):
            raise ConfigError(f"study.labels: expected different labels, got {', '.join(labels)}.")


def database_url(database: str | None, results_dir: Any) -> str:
    """The URL of a study's database.

    Args:
        database: the setting `database`; None is SQLite in the results folder.
        results_dir: the results folder.
    """
    return database or f"sqlite:///{Path(results_dir).expanduser().resolve() / FOLDER / DATABASE_FILE}"
