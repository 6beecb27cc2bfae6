"""What happens to a participant: they join, answer one question after the other, finish, or withdraw."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, delete, func, or_, select
from sqlalchemy.orm import Session

from evaluation.study.database import Database
from evaluation.study.schema import Answer, Participant, Question, Sample, Seat, Study

State = dict[str, Any]
"""What a page shows next, for JSON; `state` is one of the names below."""
WELCOME, QUESTION, DONE, FULL, CLOSED, WITHDRAWN = "welcome", "question", "done", "full", "closed", "withdrawn"
LONGEST_SECONDS = 30 * 86400


class RefusedError(Exception):
    """An answer that does not belong to the question that is open."""


@dataclass(frozen=True)
class Shown:
    """A question as a participant sees it.

    Args:
        figure: token of the picture with marks.
        plain: token of the picture without.
        size: width and height in pixels.
        options: what stands at each position: indices of labels, or `UNCHANGED` and `EXACT`.
        pictures: their tokens.
    """

    figure: str
    plain: str
    size: tuple[int, int]
    options: tuple[int, ...]
    pictures: tuple[str, ...]


class Participation:
    """The study of a database, for its participants.

    Args:
        database: where it lies.
        idle_seconds: after which a questionnaire that nobody works at is given to another.
    """

    def __init__(self, database: Database, idle_seconds: float) -> None:
        self.database = database
        self.idle_seconds = idle_seconds
        with database.reading() as session:
            study = session.get_one(Study, 1)
            self.kind, self.secret, self.key = study.kind, study.secret, study.key
            self.questionnaires = read_questionnaires(session)

    def state(self, participant: str | None) -> State:
        """What someone who opens the page sees; None stands for somebody new."""
        with self.database.writing() as session:
            who = self._known(session, participant)
            if who is not None and who.withdrew is None:
                who.seen = time.time()
            return self._state(session, who)

    def join(self, participant: str | None, language: str) -> tuple[str | None, State]:
        """Give someone who consented a questionnaire.

        Args:
            participant: who was invited or is known already; None makes somebody new.
            language: in which they read the page.

        Returns:
            Their id, or None when there is no place for them; and what they see.
        """
        now = time.time()
        with self.database.writing() as session:
            who = self._known(session, participant)
            if who is not None and (who.questionnaire is not None or who.withdrew is not None):
                return who.id, self._state(session, who)
            if session.get_one(Study, 1).closed is not None:
                return participant, {"state": CLOSED}
            seat = self._free_seat(session, now)
            if seat is None:
                return participant, {"state": FULL}
            if who is None:
                who = Participant(id=secrets.token_urlsafe(12), origin="page")
                session.add(who)
                session.flush()
            who.questionnaire, who.language, who.began, who.seen = seat.questionnaire, language, now, now
            seat.participant = who.id
            return who.id, self._state(session, who)

    def answer(self, participant: str | None, place: int, chosen: Sequence[int], seconds: float) -> State:
        """Store an answer; when this returns, it is on the disk.

        The same answer may be sent again: it counts once.

        Args:
            participant: who answers.
            place: of the question in their questionnaire.
            chosen: positions from the best to the worst; only the best unless all are to be ranked.
            seconds: how long the question was open.

        Returns:
            What they see next.

        Raises:
            RefusedError: when another question is open, or no such answer exists.
        """
        now = time.time()
        with self.database.writing() as session:
            who = self._known(session, participant, lock=True)
            if who is None or who.questionnaire is None or session.get_one(Study, 1).closed is not None:
                return self._state(session, who)
            paper = self.questionnaires[who.questionnaire]
            answered = _answered(session, who.id)
            if not 0 <= place <= answered or place >= len(paper):
                raise RefusedError(f"question {place} is not open")
            shown = paper[place]
            options = chosen_options(shown, chosen, self.kind)
            if place < answered:
                if session.get_one(Answer, (who.id, place)).chosen != options:
                    raise RefusedError(f"question {place} was answered differently")
                return self._state(session, who)
            session.add(
                Answer(
                    participant=who.id,
                    place=place,
                    questionnaire=who.questionnaire,
                    shown=list(shown.options),
                    chosen=options,
                    # A browser's clock cannot have run longer than ours.
                    seconds=max(0.0, min(seconds, now - (who.seen or now))),
                    answered=now,
                )
            )
            who.seen = now
            if place + 1 == len(paper):
                who.finished = now
            return self._state(session, who, answered + 1)

    def withdraw(self, participant: str | None) -> State:
        """Delete everything that someone answered and free their questionnaire."""
        with self.database.writing() as session:
            who = self._known(session, participant, lock=True)
            if who is None:
                return self._state(session, None)
            session.execute(delete(Answer).where(Answer.participant == who.id))
            for seat in session.scalars(select(Seat).where(Seat.participant == who.id)):
                seat.participant = None
            who.questionnaire = who.language = who.invited = who.began = who.seen = who.finished = None
            who.withdrew = time.time()
            return {"state": WITHDRAWN}

    def _known(self, session: Session, participant: str | None, *, lock: bool = False) -> Participant | None:
        if participant is None:
            return None
        return session.get(Participant, participant, with_for_update=lock or None)

    def _free_seat(self, session: Session, now: float) -> Seat | None:
        """The first questionnaire that nobody has, else one that was left unfinished for long; locked for this one."""
        forgotten = (
            select(Participant.id)
            .where(Participant.finished.is_(None), Participant.seen < now - self.idle_seconds)
            .scalar_subquery()
        )
        for free in (Seat.participant.is_(None), Seat.participant.in_(forgotten)):
            wanted = select(Seat).where(free).order_by(Seat.questionnaire).limit(1).with_for_update(skip_locked=True)
            seat = session.scalar(wanted)
            if seat is not None:
                return seat
        return None

    def _state(self, session: Session, who: Participant | None, answered: int | None = None) -> State:
        if who is not None and who.withdrew is not None:
            return {"state": WITHDRAWN}
        if who is not None and who.finished is not None:
            return {"state": DONE}
        if session.get_one(Study, 1).closed is not None:
            return {"state": CLOSED}
        if who is None or who.questionnaire is None:
            return {"state": FULL if self._is_full(session) else WELCOME}
        answered = _answered(session, who.id) if answered is None else answered
        return question_state(self.questionnaires[who.questionnaire], answered, self.kind) | {"language": who.language}

    def _is_full(self, session: Session) -> bool:
        since = time.time() - self.idle_seconds
        open_to_others: ColumnElement[bool] = or_(
            Seat.participant.is_(None),
            Seat.participant.in_(
                select(Participant.id).where(Participant.finished.is_(None), Participant.seen < since)
            ),
        )
        return session.scalar(select(func.count()).select_from(Seat).where(open_to_others)) == 0


def question_state(paper: Sequence[Shown], place: int, kind: str) -> State:
    """A question as the page gets it, with the pictures of the one behind it, to be fetched meanwhile."""
    shown = paper[place]
    following = paper[place + 1 : place + 2]
    return {
        "state": QUESTION,
        "kind": kind,
        "place": place,
        "count": len(paper),
        "figure": shown.figure,
        "plain": shown.plain,
        "width": shown.size[0],
        "height": shown.size[1],
        "options": list(shown.pictures),
        "next": [token for other in following for token in (other.figure, *other.pictures)],
    }


def chosen_options(shown: Shown, chosen: Sequence[int], kind: str) -> list[int]:
    """The options behind the positions that were chosen.

    Raises:
        RefusedError: when the positions are not one, or not all where all are to be ranked, or none of the question's.
    """
    count = len(shown.options)
    wanted = count if kind == "rank" else 1
    if len(chosen) != wanted or len(set(chosen)) != wanted or not all(0 <= position < count for position in chosen):
        raise RefusedError(f"expected {wanted} of the positions 0 to {count - 1}, got {list(chosen)}")
    return [shown.options[position] for position in chosen]


def read_questionnaires(session: Session) -> list[list[Shown]]:
    """All questionnaires, as they are shown."""
    samples = {sample.id: sample for sample in session.scalars(select(Sample))}
    papers: dict[int, list[Shown]] = {}
    for question in session.scalars(select(Question).order_by(Question.questionnaire, Question.place)):
        sample = samples[question.sample]
        papers.setdefault(question.questionnaire, []).append(
            Shown(
                figure=sample.figure,
                plain=sample.plain,
                size=(sample.width, sample.height),
                options=tuple(question.options),
                pictures=tuple(question.pictures),
            )
        )
    return [papers[number] for number in sorted(papers)]


def _answered(session: Session, participant: str) -> int:
    count = session.scalar(select(func.count()).select_from(Answer).where(Answer.participant == participant))
    return count or 0
