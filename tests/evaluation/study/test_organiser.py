"""The organiser: let in by the token only, sees who takes part and who is left out, invites, exports, closes."""

from __future__ import annotations

import csv
import io

import pytest
from fastapi.testclient import TestClient
from studies import LABELS, answer_study, make_study

from evaluation.study.organiser import organiser_token
from evaluation.study.participation import Participation
from evaluation.study.server import make_app
from evaluation.study.settings import StudySettings
from evaluation.study.texts import read_texts
from evaluation.study.web import Signed

PATHS = ("overview", "answers.csv", "answers.json")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    database = make_study(tmp_path_factory.mktemp("results"), participants=3)
    answer_study(database, LABELS, careless=1)
    return Participation(database, 3600)


@pytest.fixture
def browse(study):
    return lambda: TestClient(make_app(study, StudySettings(), read_texts()), follow_redirects=False)


@pytest.fixture
def organiser(study, browse):
    client = browse()
    answer = client.post("/api/organiser/enter", json={"token": organiser_token(study.secret)})
    assert answer.status_code == 200
    assert (
        "httponly" in answer.headers["set-cookie"].lower() and "samesite=strict" in answer.headers["set-cookie"].lower()
    )
    return client


def test_nobody_else_is_let_in(study, browse):
    client = browse()
    assert client.get("/organiser").status_code == 200
    for token in ("", "x", study.secret[:40]):
        assert client.post("/api/organiser/enter", json={"token": token}).status_code == 403
    client.cookies.set(f"organiser_{study.key}", Signed(study, "participant", None).write("organiser"))
    for path in PATHS:
        assert client.get(f"/api/organiser/{path}").status_code == 401
    assert client.post("/api/organiser/close", json={"closed": True}).status_code == 401
    assert client.post("/api/organiser/links", json={"count": 1}).status_code == 401


def test_the_overview_says_who_and_whose_answers_are_left_out(organiser):
    found = organiser.get("/api/organiser/overview").json()
    assert (found["seats"], found["free"], found["finished"], found["answers"], found["left_out"]) == (3, 0, 3, 18, 1)
    assert sum(count for _, count in found["hours"]) == 18
    reasons = [person["reasons"] for person in found["participants"]]
    assert sorted(reasons) == ["", "", "failed 1 check, 0 are allowed"]
    assert all(person["median_seconds"] == 3.0 for person in found["participants"])


def test_export_holds_every_answer(organiser):
    rows = list(csv.DictReader(io.StringIO(organiser.get("/api/organiser/answers.csv").text)))
    assert len(rows) == 18 and sum(row["left_out"] != "" for row in rows) == 6
    assert {row["chosen"] for row in rows if row["kind"] == "vote"} == {"truth"}
    content = organiser.get("/api/organiser/answers.json").json()
    assert len(content["answers"]) == 18 and len(content["participants"]) == 3 and content["labels"] == LABELS
    assert sorted(content["answers"][0]["shown"]) == sorted(LABELS)


def test_personal_links_and_closing(tmp_path):
    study = Participation(make_study(tmp_path, participants=2), 3600)
    app = make_app(study, StudySettings(), read_texts())
    organiser = TestClient(app, follow_redirects=False)
    organiser.post("/api/organiser/enter", json={"token": organiser_token(study.secret)})
    links = organiser.post("/api/organiser/links", json={"count": 2}).json()
    assert len(set(links)) == 2
    assert organiser.post("/api/organiser/links", json={"count": 501}).status_code == 422
    guest = TestClient(app, follow_redirects=False)
    assert guest.get(links[0]).status_code == 303
    assert guest.get("/api/state").json()["state"] == "welcome"
    assert guest.post("/api/begin", json={"language": "en"}).json()["place"] == 0
    found = organiser.get("/api/organiser/overview").json()
    assert len(found["participants"]) == 2 and found["free"] == 1
    # The same link again is the same person.
    again = TestClient(app, follow_redirects=False)
    again.get(links[0])
    assert again.get("/api/state").json()["state"] == "question"
    assert organiser.post("/api/organiser/close", json={"closed": True}).json() == {"closed": True}
    assert guest.get("/api/state").json() == {"state": "closed"}
    organiser.post("/api/organiser/close", json={"closed": False})
    assert guest.get("/api/state").json()["state"] == "question"
    # Unused links take no place and speak against nobody.
    assert organiser.get("/api/organiser/overview").json()["left_out"] == 0
