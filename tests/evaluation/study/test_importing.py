"""Taking in what the study in a file saves."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import func, select
from tests_helpers import compose_config

from evaluation.study.answers import read_answers
from evaluation.study.importing import import_answers, run
from evaluation.study.participation import Participation
from evaluation.study.schema import Answer, Study
from rotationbench.errors import ConfigError, DatasetError


def saved(database, who: str = "0" * 32, questionnaire: int = 1, count: int = 6, **changes: object) -> dict:
    """A file as the page saves it."""
    with database.reading() as session:
        key = session.get_one(Study, 1).key
    answers = [{"place": place, "chosen": [1], "seconds": 4, "answered": 1.7e9 + place} for place in range(count)]
    return {
        "format": "rotationbench-study-answers", "version": 1, "study": key, "participant": who,
        "questionnaire": str(questionnaire), "began": 1.7e9, "language": "en", "answers": answers,
    } | changes  # fmt: skip


def write(folder, name: str, content: object):
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_answers_are_taken_in_once(database, tmp_path):
    first = write(tmp_path, "answers-1.json", saved(database, count=4))
    assert import_answers(database, [first]) == (1, 0)
    whole = write(tmp_path, "answers-2.json", saved(database))
    assert import_answers(database, [whole]) == (1, 0)
    assert import_answers(database, [whole, first]) == (0, 2)
    with database.reading() as session:
        found = read_answers(session)
        paper = Participation(database, 0).questionnaires[1]
        assert len(found.table) == 6 and set(found.table["origin"]) == {"file"}
        answers = list(session.scalars(select(Answer).order_by(Answer.place)))
        assert [answer.chosen for answer in answers] == [[shown.options[1]] for shown in paper]
    where = f"study_import.database='{database.name}'"
    config = compose_config("task=study_import", f"study_import.files=[{tmp_path}/answers-*.json]", where)
    assert run(config) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"study": "other"}, "answers of another study"),
        ({"version": 2}, "version: expected answers as the page saves them"),
        ({"format": "x"}, "format: expected"),
        ({"participant": "../x"}, "participant: expected"),
        ({"questionnaire": "9"}, "questionnaire: expected 0 to 3, got 9"),
        ({"answers": [{"place": 1, "chosen": [0], "seconds": 1, "answered": 1}]}, "in their order"),
        ({"answers": [{"place": 0, "chosen": [5], "seconds": 1, "answered": 1}]}, "expected 1 of the positions"),
        ({"answers": [{"place": 0, "chosen": [0], "seconds": -1, "answered": 1}]}, "answers.0.seconds"),
        ({"name": "Jane"}, "name: expected answers as the page saves them"),
    ],
)
def test_files_that_are_none_are_named_and_nothing_is_taken_in(database, tmp_path, change, message):
    good = write(tmp_path, "good.json", saved(database, who="a" * 32))
    bad = write(tmp_path, "bad.json", saved(database, who="b" * 32) | change)
    with database.reading() as session:
        before = session.scalar(select(func.count()).select_from(Answer))
    with pytest.raises(DatasetError, match=rf"bad.json: .*{message}"):
        import_answers(database, [good, bad])
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Answer)) == before


def test_other_files_and_none_are_one_line(database, tmp_path):
    for content, message in (
        ("{", "expected JSON"),
        ("[]", "the file: expected answers"),
        ("[" * 100_000, "expected JSON"),
    ):
        with pytest.raises(DatasetError, match=message):
            import_answers(database, [write(tmp_path, "x.json", content)])
    where = f"study_import.database='{database.name}'"
    with pytest.raises(ConfigError, match="which means none"):
        run(compose_config("task=study_import", f"study_import.files=[{tmp_path}/none-*.json]", where))
    with pytest.raises(ConfigError, match="expected files of answers, got none"):
        run(compose_config("task=study_import", where))
