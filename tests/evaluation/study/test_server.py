"""The participants' server: what it hands out, to whom, and what it refuses; nothing in it names a method."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select, text
from studies import LABELS, make_study

from evaluation.study.database import Database
from evaluation.study.participation import Participation
from evaluation.study.schema import Answer
from evaluation.study.server import make_app
from evaluation.study.settings import StudySettings
from evaluation.study.texts import read_texts
from rotationbench.paths import project_root

TEXTS = read_texts()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    make_study(root).close()
    return root / "study" / "study.sqlite3"


@pytest.fixture
def database(made, tmp_path):
    shutil.copy(made, tmp_path / "study.sqlite3")
    return Database(f"sqlite:///{tmp_path / 'study.sqlite3'}")


@pytest.fixture
def browse(database):
    """Makes clients, each a browser of its own."""

    def open_browser(**settings: object) -> TestClient:
        app = make_app(Participation(database, 3600), StudySettings(**settings), TEXTS)
        return TestClient(app, follow_redirects=False)

    return open_browser


def test_a_questionnaire_over_http_names_no_method_and_no_sample(browse, database):
    client = browse()
    bodies = [client.get("/").text]
    state = client.post("/api/begin", json={"language": "en"}).json()
    count = 0
    while state["state"] == "question":
        bodies.append(json.dumps(state))
        for token in (state["figure"], state["plain"], *state["options"]):
            picture = client.get(f"/picture/{token}.webp")
            assert picture.status_code == 200 and picture.headers["content-type"] == "image/webp"
            assert picture.content[:4] == b"RIFF" and b"EXIF" not in picture.content and b"XMP " not in picture.content
            bodies += [str(picture.headers), picture.content.decode("latin-1")]
        reply = {"place": state["place"], "chosen": [0], "seconds": 2.0}
        state = client.post("/api/answer", json=reply).json()
        count += 1
    assert state == {"state": "done"} and count == 6
    for secret in (*LABELS, "blob", "exact", "unchanged", "check", "repeat", ".png"):
        assert not any(secret in body for body in bodies[1:]), secret
    assert not any(label in bodies[0] for label in LABELS)
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Answer)) == 6


def test_a_cookie_or_a_personal_link_goes_on_where_one_stopped(browse):
    client = browse()
    state = client.post("/api/begin", json={"language": "en"}).json()
    after = client.post("/api/answer", json={"place": 0, "chosen": [1], "seconds": 2.0}).json()
    assert client.get("/api/state").json() == after and after["place"] == 1
    elsewhere = browse()
    elsewhere.cookies.update(client.cookies)
    assert elsewhere.get("/api/state").json() == after
    by_link = browse()
    answer = by_link.get(after["link"])
    assert answer.status_code == 303 and answer.headers["location"] == "../"
    assert "httponly" in answer.headers["set-cookie"].lower() and "samesite=lax" in answer.headers["set-cookie"].lower()
    assert by_link.get("/api/state").json() == after
    assert state["link"] == after["link"]


def test_studies_side_by_side_on_one_host_keep_a_participant_each(browse, tmp_path):
    # Browsers send a cookie to every port of a host.
    other = make_app(Participation(make_study(tmp_path / "other"), 3600), StudySettings(), TEXTS)
    client = browse()
    client.post("/api/begin", json={"language": "en"})
    beside = TestClient(other, cookies=client.cookies)
    assert beside.post("/api/begin", json={"language": "en"}).json()["state"] == "question"
    client.cookies.update(beside.cookies)
    assert len(client.cookies) == 2 and client.get("/api/state").json()["state"] == "question"


def test_what_was_not_signed_here_is_nobody(browse):
    client = browse()
    client.post("/api/begin", json={"language": "en"})
    ((name, signed),) = client.cookies.items()
    for forged in (signed[:-1] + ("A" if signed[-1] != "A" else "B"), "x", "", signed.replace(".", "")):
        other = browse()
        other.cookies.set(name, forged)
        assert other.get("/api/state").json() == {"state": "welcome"}
        assert other.get(f"/p/{forged or 'x'}").status_code == 404


def test_withdrawing_deletes(browse, database):
    client = browse()
    client.post("/api/begin", json={"language": "en"})
    client.post("/api/answer", json={"place": 0, "chosen": [1], "seconds": 2.0})
    assert client.post("/api/withdraw", json={}).json() == {"state": "withdrawn"}
    assert client.get("/api/state").json() == {"state": "withdrawn"}
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Answer)) == 0


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"place": 0, "chosen": [7], "seconds": 1.0}, 409),
        ({"place": 3, "chosen": [0], "seconds": 1.0}, 409),
        ({"place": -1, "chosen": [0], "seconds": 1.0}, 422),
        ({"place": 0, "chosen": [0], "seconds": -1.0}, 422),
        ({"place": 0, "chosen": [0], "seconds": 1e99}, 422),
        ({"place": 0, "chosen": ["truth"], "seconds": 1.0}, 422),
        ({"place": 0, "chosen": [0] * 9, "seconds": 1.0}, 422),
        ({"place": 0, "chosen": [0], "seconds": 1.0, "participant": "x"}, 422),
        ({}, 422),
    ],
)
def test_answers_that_are_none_are_refused(browse, body, status):
    client = browse()
    client.post("/api/begin", json={"language": "en"})
    assert client.post("/api/answer", json=body).status_code == status
    assert client.get("/api/state").json()["place"] == 0


def test_hostile_requests_are_refused(browse):
    client = browse()
    post = client.post
    assert (
        post("/api/begin", json={"language": "en"}, headers={"Origin": "http://elsewhere.example"}).status_code == 403
    )
    assert post("/api/begin", json={"language": "xx"}).status_code == 422
    assert post("/api/begin", content=b'{"language": "' + b"e" * 100_000 + b'"}').status_code == 413
    assert post("/api/begin", content=b"{", headers={"Content-Type": "application/json"}).status_code == 422
    assert post("/api/withdraw", json={"all": True}).status_code == 422
    for path in (
        "/picture/nothing.webp",
        "/pages/__init__.py",
        "/pages/..%2fserver.py",
        "/docs",
        "/openapi.json",
        "/p/a.b",
    ):
        assert client.get(path).status_code == 404, path
    assert not client.cookies
    ours = post("/api/begin", json={"language": "en"}, headers={"Origin": "http://testserver"})
    assert ours.status_code == 200


def test_pages_may_load_nothing_from_elsewhere(browse):
    client = browse()
    page = client.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy and "unsafe" not in policy
    assert "http" not in policy and page.headers["referrer-policy"] == "no-referrer"
    assert client.get("/api/state").headers["cache-control"] == "no-store"
    for name in ("participant.js", "question.js", "zoom.js", "answering.js", "element.js", "study.css", "icon.svg"):
        assert client.get(f"/pages/{name}").status_code == 200


def test_behind_a_proxy_links_and_cookies_are_of_the_public_address(browse):
    client = browse(public_url="https://study.example/one")
    begun = client.post("/api/begin", json={"language": "en"}, headers={"Origin": "https://study.example"})
    assert "secure" in begun.headers["set-cookie"].lower()
    assert begun.json()["link"].startswith("https://study.example/one/p/")


def test_a_database_that_fails_is_no_lost_answer(browse, database):
    client = browse()
    client.post("/api/begin", json={"language": "en"})
    with database.writing() as session:
        session.execute(text("ALTER TABLE answer RENAME TO elsewhere"))
    reply = {"place": 0, "chosen": [0], "seconds": 1.0}
    assert client.post("/api/answer", json=reply).status_code == 503
    with database.writing() as session:
        session.execute(text("ALTER TABLE elsewhere RENAME TO answer"))
    assert client.post("/api/answer", json=reply).json()["place"] == 1


def test_a_server_starts_without_loading_models():
    script = "import sys, evaluation.study.server; print({'torch', 'cv2', 'hydra'} & sys.modules.keys())"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=project_root(), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
