"""Participants: joining, answering, going on, withdrawing; what is refused; no seat given twice."""

from __future__ import annotations

import shutil
import threading
from collections import Counter

import pytest
from sqlalchemy import func, select
from studies import make_study

from evaluation.study.database import Database
from evaluation.study.participation import Participation, RefusedError
from evaluation.study.schema import Answer, Participant, Question, Seat, Study


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def made(results):
    make_study(results).close()
    return results / "study" / "study.sqlite3"


@pytest.fixture
def study(made, tmp_path):
    shutil.copy(made, tmp_path / "study.sqlite3")
    return Participation(Database(f"sqlite:///{tmp_path / 'study.sqlite3'}"), idle_seconds=3600)


def count(study: Participation, table: type) -> int:
    with study.database.reading() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def answer_all(study: Participation, who: str | None, state: dict, choice: int = 0) -> dict:
    while state["state"] == "question":
        state = study.answer(who, state["place"], [choice], 3.0)
    return state


def test_a_questionnaire_from_welcome_to_thanks(study):
    assert study.state(None) == {"state": "welcome"}
    who, state = study.join(None, "en")
    seen = []
    while state["state"] == "question":
        assert state["place"] == len(seen) and state["count"] == 6 and state["kind"] == "best"
        assert study.state(who) == state
        seen.append(state["options"])
        state = study.answer(who, state["place"], [len(state["options"]) - 1], 2.5)
    assert state == study.state(who) == {"state": "done"}
    with study.database.reading() as session:
        answers = list(session.scalars(select(Answer).order_by(Answer.place)))
        questions = list(session.scalars(select(Question).where(Question.questionnaire == 0).order_by(Question.place)))
        assert [question.pictures for question in questions] == seen
        for answer, question in zip(answers, questions, strict=True):
            assert answer.shown == question.options and answer.chosen == question.options[-1:]
            assert 0 <= answer.seconds <= 2.5


def test_no_time_is_longer_than_the_server_saw(study):
    who, _state = study.join(None, "en")
    study.answer(who, 0, [0], 86400.0)
    with study.database.reading() as session:
        assert session.scalar(select(Answer.seconds)) < 60


def test_an_answer_sent_again_counts_once_and_another_one_is_refused(study):
    who, _state = study.join(None, "en")
    after = study.answer(who, 0, [1], 1.0)
    assert study.answer(who, 0, [1], 9.0) == after
    with pytest.raises(RefusedError, match="answered differently"):
        study.answer(who, 0, [0], 1.0)
    assert count(study, Answer) == 1


@pytest.mark.parametrize("chosen", [[], [3], [-1], [0, 1], [0, 0]])
def test_answers_that_do_not_exist_are_refused(study, chosen):
    who, _state = study.join(None, "en")
    with pytest.raises(RefusedError, match="expected 1 of the positions"):
        study.answer(who, 0, chosen, 1.0)
    with pytest.raises(RefusedError, match="is not open"):
        study.answer(who, 1, [0], 1.0)
    assert count(study, Answer) == 0


def test_rankings_are_whole_orders(results, tmp_path):
    database = make_study(results, question="rank", checks=0, database=f"sqlite:///{tmp_path / 'rank.sqlite3'}")
    study = Participation(database, 3600)
    who, _state = study.join(None, "en")
    for chosen in ([0], [0, 1, 1], [0, 1, 2, 3]):
        with pytest.raises(RefusedError):
            study.answer(who, 0, chosen, 1.0)
    study.answer(who, 0, [2, 0, 1], 1.0)
    with database.reading() as session:
        answer = session.scalars(select(Answer)).one()
        assert answer.chosen == [answer.shown[2], answer.shown[0], answer.shown[1]]


def test_who_is_unknown_sees_the_welcome_and_answers_nothing(study):
    assert study.answer("nobody", 0, [0], 1.0) == {"state": "welcome"}
    assert study.withdraw("nobody") == {"state": "welcome"}
    assert count(study, Participant) == 0


def test_a_full_study_says_so_until_someone_withdraws(study):
    known = [study.join(None, "en") for _ in range(4)]
    assert len({who for who, _ in known}) == 4
    assert study.join(None, "en") == (None, {"state": "full"}) and study.state(None) == {"state": "full"}
    assert count(study, Participant) == 4
    who, state = known[1]
    answer_all(study, who, state)
    assert count(study, Answer) == 6
    assert study.withdraw(who) == study.state(who) == {"state": "withdrawn"}
    assert count(study, Answer) == 0
    assert study.join(who, "en") == (who, {"state": "withdrawn"})
    other, state = study.join(None, "en")
    assert state["state"] == "question"
    with study.database.reading() as session:
        assert session.get_one(Participant, other).questionnaire == 1
        left = session.get_one(Participant, who)
        assert (left.questionnaire, left.language, left.began, left.seen) == (None, None, None, None)


def test_what_was_left_for_long_goes_to_another_and_who_comes_back_goes_on(study):
    known = [study.join(None, "en")[0] for _ in range(4)]
    with study.database.writing() as session:
        session.get_one(Participant, known[2]).seen = 1.0
    assert study.state(None) == {"state": "welcome"}
    new, state = study.join(None, "en")
    with study.database.reading() as session:
        assert session.get_one(Participant, new).questionnaire == 2
        assert session.get_one(Seat, 2).participant == new
    assert study.join(None, "en") == (None, {"state": "full"})
    assert study.state(known[2])["state"] == "question"
    assert answer_all(study, known[2], study.state(known[2])) == {"state": "done"}
    assert answer_all(study, new, state) == {"state": "done"}


def test_who_finished_keeps_the_place_however_long_ago(study):
    for _ in range(4):
        answer_all(study, *study.join(None, "en"))
    with study.database.writing() as session:
        for participant in session.scalars(select(Participant)):
            participant.seen = 1.0
    assert study.join(None, "en") == (None, {"state": "full"})


def test_who_begins_twice_has_one_questionnaire(study):
    who, state = study.join(None, "en")
    assert study.join(who, "en") == (who, state)
    assert count(study, Participant) == 1


def test_a_closed_study_takes_no_answers(study):
    who, _state = study.join(None, "en")
    study.answer(who, 0, [0], 1.0)
    with study.database.writing() as session:
        session.get_one(Study, 1).closed = 1.0
    assert study.answer(who, 1, [0], 1.0) == {"state": "closed"} == study.state(None)
    assert study.join(None, "en") == (None, {"state": "closed"})
    assert count(study, Answer) == 1
    # Withdrawing stays possible.
    assert study.withdraw(who) == {"state": "withdrawn"} and count(study, Answer) == 0


def test_people_who_come_at_once_get_different_questionnaires(results, tmp_path):
    url = f"sqlite:///{tmp_path / 'crowd.sqlite3'}"
    servers = [Participation(make_study(results, participants=12, database=url), 3600) for _ in range(2)]
    found: list[dict] = []
    gate = threading.Barrier(16)

    def come(number: int) -> None:
        gate.wait()
        study = servers[number % 2]
        who, state = study.join(None, "en")
        found.append(answer_all(study, who, state, number % 2))

    threads = [threading.Thread(target=come, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(state["state"] for state in found) == {"done": 12, "full": 4}
    with servers[0].database.reading() as session:
        assert sorted(session.scalars(select(Participant.questionnaire))) == list(range(12))
        assert count(servers[0], Answer) == 12 * 6
