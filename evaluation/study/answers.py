"""The answers of a study as tables, and whose are left out."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from sqlalchemy import select
from sqlalchemy.orm import Session

from evaluation.study.design import EXACT, UNCHANGED
from evaluation.study.rules import Rules
from evaluation.study.schema import Answer, Participant, Question, Sample, Study

KNOWN_OPTIONS = {UNCHANGED: "(unchanged)", EXACT: "(exact result)"}
"""How the options of checks are called beside labels."""
COLUMNS = (
    "participant",
    "origin",
    "language",
    "questionnaire",
    "place",
    "kind",
    "repeats",
    "sample",
    "split",
    "category",
    "angle",
    "shown",
    "chosen",
    "seconds",
    "answered",
)


@dataclass(frozen=True, eq=False)
class Answers:
    """Everything that was answered.

    Args:
        kind: `"best"`, `"pairs"` or `"rank"`.
        labels: the labels that are compared.
        table: one row per answer, in the order of participants and places. `shown` and `chosen` are tuples of labels,
            `KNOWN_OPTIONS` in checks; `answered` is in seconds since 1970.
        participants: one row per participant: `id`, `origin`, `language`, `questionnaire`, `questions`, `answered`,
            `checks`, `failed_checks`, `median_seconds`, `invited`, `began`, `finished`, `withdrew`, and `reasons`: why
            their answers are left out, joined by semicolons, empty when nothing is wrong.
    """

    kind: str
    labels: list[str]
    table: pd.DataFrame
    participants: pd.DataFrame

    @property
    def counted(self) -> pd.DataFrame:
        """The answers of those who are not left out."""
        left_out = set(self.participants.loc[self.participants["reasons"] != "", "id"])
        return self.table[~self.table["participant"].isin(left_out)]

    @property
    def votes(self) -> pd.DataFrame:
        """Of these, what was asked for the first time and is no check."""
        counted = self.counted
        return counted[counted["kind"] == "vote"]


def read_answers(session: Session, rules: Rules | None = None) -> Answers:
    """All answers of a study.

    Args:
        session: of its database.
        rules: whose answers are left out; None takes those that the server was started with last.
    """
    study = session.get_one(Study, 1)
    rules = Rules(**study.rules) if rules is None else rules
    names = dict(enumerate(study.labels)) | KNOWN_OPTIONS
    rows = session.execute(
        select(Answer, Question, Sample, Participant)
        .join(Question, (Question.questionnaire == Answer.questionnaire) & (Question.place == Answer.place))
        .join(Sample, Sample.id == Question.sample)
        .join(Participant, Participant.id == Answer.participant)
        .order_by(Answer.participant, Answer.place)
    )
    records = [
        {
            "participant": answer.participant,
            "origin": participant.origin,
            "language": participant.language,
            "questionnaire": answer.questionnaire,
            "place": answer.place,
            "kind": question.kind,
            "repeats": question.repeats,
            "sample": sample.name,
            "split": sample.split,
            "category": sample.category,
            "angle": sample.angle,
            "shown": tuple(names[option] for option in answer.shown),
            "chosen": tuple(names[option] for option in answer.chosen),
            "seconds": answer.seconds,
            "answered": answer.answered,
        }
        for answer, question, sample, participant in rows
    ]
    table = pd.DataFrame(records, columns=list(COLUMNS))
    counts: dict[int, int] = {}
    for questionnaire in session.scalars(select(Question.questionnaire)):
        counts[questionnaire] = counts.get(questionnaire, 0) + 1
    people = [
        _participant(participant, table[table["participant"] == participant.id], counts, rules)
        for participant in session.scalars(select(Participant).order_by(Participant.began, Participant.id))
    ]
    return Answers(study.kind, list(study.labels), table, pd.DataFrame(people, columns=list(_PARTICIPANT_COLUMNS)))


def flat(answers: Answers) -> pd.DataFrame:
    """The answers with lists as text and with the reasons for which they are left out, for CSV."""
    reasons = dict(zip(answers.participants["id"], answers.participants["reasons"], strict=True))
    joined = {name: [" > ".join(options) for options in answers.table[name]] for name in ("shown", "chosen")}
    return answers.table.assign(**joined, left_out=[reasons[who] for who in answers.table["participant"]])


_PARTICIPANT_COLUMNS = (
    "id",
    "origin",
    "language",
    "questionnaire",
    "questions",
    "answered",
    "checks",
    "failed_checks",
    "median_seconds",
    "invited",
    "began",
    "finished",
    "withdrew",
    "reasons",
)


def _participant(who: Participant, own: pd.DataFrame, counts: dict[int, int], rules: Rules) -> dict[str, object]:
    checks = own[own["kind"] == "check"]
    failed = sum(chosen[0] != KNOWN_OPTIONS[EXACT] for chosen in checks["chosen"])
    median = float(own["seconds"].median()) if len(own) else None
    return {
        "id": who.id,
        "origin": who.origin,
        "language": who.language,
        "questionnaire": who.questionnaire,
        "questions": None if who.questionnaire is None else counts[who.questionnaire],
        "answered": len(own),
        "checks": len(checks),
        "failed_checks": failed,
        "median_seconds": median,
        "invited": who.invited,
        "began": who.began,
        "finished": who.finished,
        "withdrew": who.withdrew,
        "reasons": "; ".join(rules.reasons(failed, median)),
    }
