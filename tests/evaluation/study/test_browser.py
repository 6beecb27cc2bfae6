"""Whole questionnaires in a real Chromium: by keys, by touch, without a server; no traffic names a method."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from headless_chromium import chromium
from served_pages import PATIENCE, browsing, served
from sqlalchemy import select
from studies import LABELS, make_study

from evaluation.study.answers import read_answers
from evaluation.study.importing import import_answers
from evaluation.study.organiser import organiser_token
from evaluation.study.participation import Participation
from evaluation.study.schema import Answer
from evaluation.study.server import make_app
from evaluation.study.settings import StudySettings
from evaluation.study.static import write_static
from evaluation.study.texts import read_texts

pytestmark = pytest.mark.skipif(chromium() is None, reason="Chromium is not installed")
DESK = {"viewport": {"width": 1280, "height": 800}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}


@pytest.fixture(scope="module")
def browser():
    with browsing() as browser:
        yield browser


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


class Visit:
    """A page with everything that came over the network, and every error that it met."""

    def __init__(self, browser, address: str, **options: object) -> None:
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.errors: list[str] = []
        self.traffic: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        self.page.on("response", self._note)
        self.page.goto(address)

    def _note(self, response) -> None:
        self.traffic.append(response.url + json.dumps(response.request.headers) + json.dumps(response.headers))
        if response.status == 200:
            self.traffic.append(response.body().decode("latin-1"))

    def ready(self) -> str:
        """Wait for the next question or the end; returns what the title says."""
        self.page.wait_for_selector(".option:not([disabled]), .end")
        return self.page.title()

    def end(self) -> str:
        text = self.page.locator("h1").inner_text()
        self.context.close()
        return text


@pytest.fixture
def study(results, tmp_path) -> Iterator[tuple[Participation, str]]:
    participation = Participation(make_study(results, database=f"sqlite:///{tmp_path / 'study.sqlite3'}"), 3600)
    with served_study(participation) as address:
        yield participation, address


@contextmanager
def served_study(participation: Participation) -> Iterator[str]:
    with served(make_app(participation, StudySettings(), read_texts())) as address:
        yield f"{address}/"


def stored(participation: Participation) -> list[Answer]:
    with participation.database.reading() as session:
        answers = list(session.scalars(select(Answer).order_by(Answer.place)))
        session.expunge_all()
    return answers


def test_a_questionnaire_by_keys_alone(browser, study):
    participation, address = study
    visit = Visit(browser, address, **DESK)
    page, press = visit.page, visit.page.keyboard.press
    page.wait_for_selector("#consent")
    assert page.locator("text=Begin").is_disabled()
    for _ in range(3):
        press("Tab")
        if page.evaluate("document.activeElement.id") == "consent":
            break
    press("Space")
    press("Tab")
    press("Enter")
    chosen = []
    for number in range(6):
        assert visit.ready().startswith(f"{number + 1}/6")
        count = page.locator(".option").count()
        press("Enter")
        assert page.locator(".chosen").count() == 0
        press("a")
        press("Backspace")
        assert page.locator(".chosen").count() == 0 and page.locator("footer .primary").is_disabled()
        if number == 1:
            # By arrows and the space bar, as a group of radio buttons is.
            page.locator(".option").first.focus()
            press("ArrowRight")
            press("Space")
            chosen.append(1)
        else:
            press("1")
            press("ABC"[number % count])
            chosen.append(number % count)
        assert page.locator(".option.chosen").count() == 1
        assert page.locator(".option").nth(chosen[-1]).get_attribute("aria-checked") == "true"
        if number == 0:
            press("+")
            press("ArrowRight")
            transforms = page.eval_on_selector_all(".content", "nodes => nodes.map(node => node.style.transform)")
            assert len(set(transforms)) == 1 and "scale(1.5)" in transforms[0]
            press("m")
            assert page.locator(".marked").evaluate("node => getComputedStyle(node).visibility") == "hidden"
            press("0")
        time.sleep(0.1)
        press("Enter")
    visit.ready()
    answers = stored(participation)
    assert [answer.shown.index(answer.chosen[0]) for answer in answers] == chosen
    assert all(0.05 < answer.seconds < 60 for answer in answers)
    assert visit.errors == []
    for secret in (*LABELS, "blob0", ".png"):
        assert not any(secret in part for part in visit.traffic), secret
    assert visit.end() == "Thank you!"


def test_a_questionnaire_by_touch_on_a_phone(browser, study):
    participation, address = study
    visit = Visit(browser, address, **PHONE)
    page = visit.page
    page.locator(".consent").tap()
    page.locator("text=Begin").tap()
    for number in range(6):
        visit.ready()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        sizes = page.eval_on_selector_all(".frame", "nodes => nodes.map(node => [node.clientWidth, node.clientHeight])")
        assert len({tuple(size) for size in sizes}) == 1 and sizes[0][0] >= 120
        frames = page.locator(".option .frame")
        frames.first.tap()
        frames.last.tap()
        assert page.locator(".option.chosen").count() == 1
        if number == 2:
            # Closing the browser: the cookie is what is left.
            kept = visit.context.storage_state()
            visit.context.close()
            visit = Visit(browser, address, **PHONE, storage_state=kept)
            page = visit.page
            assert visit.ready().startswith("3/6")
            page.locator(".option .frame").last.tap()
        if number == 4:
            # Away for a moment: that is said without anything moving, and the answer is sent later.
            places = page.locator(".tiles").bounding_box()
            visit.context.set_offline(True)
            page.locator("footer .primary").tap()
            page.wait_for_selector("text=The connection is lost")
            assert page.locator(".tiles").bounding_box() == places
            visit.context.set_offline(False)
            visit.errors[:] = [text for text in visit.errors if "ERR_INTERNET_DISCONNECTED" not in text]
            page.wait_for_function("() => document.title.startsWith('6/')")
            continue
        page.locator("footer .primary").tap()
    visit.ready()
    answers = stored(participation)
    assert [answer.shown.index(answer.chosen[0]) for answer in answers] == [len(answer.shown) - 1 for answer in answers]
    page.locator("text=Withdraw").tap()
    page.locator("dialog .danger").tap()
    page.wait_for_selector("text=Your answers are deleted")
    assert stored(participation) == [] and visit.errors == []
    visit.end()


def test_rankings_by_keys_and_undoing_them(browser, results, tmp_path):
    url = f"sqlite:///{tmp_path / 'rank.sqlite3'}"
    database = make_study(results, question="rank", checks=0, repeats=0, questions=1, database=url)
    participation = Participation(database, 3600)
    with served_study(participation) as address:
        visit = Visit(browser, address, **DESK)
        page, press = visit.page, visit.page.keyboard.press
        page.check("#consent")
        page.click("text=Begin")
        visit.ready()
        press("b")
        press("c")
        ranks = [page.locator(".option .rank").nth(number).inner_text() for number in range(3)]
        assert ranks == ["Rank 3", "Rank 1", "Rank 2"]
        press("Backspace")
        press("a")
        assert page.locator(".option").nth(0).get_attribute("aria-label") == "Edit A, Rank 2"
        press("Enter")
        visit.ready()
        (answer,) = stored(participation)
        assert [answer.shown.index(option) for option in answer.chosen] == [1, 0, 2]
        assert visit.errors == []
        visit.end()


def test_the_file_without_a_server(browser, results, tmp_path):
    database = make_study(results, database=f"sqlite:///{tmp_path / 'study.sqlite3'}")
    participation = Participation(database, 3600)
    write_static(participation, tmp_path / "study.html", "Which?", read_texts())
    visit = Visit(browser, (tmp_path / "study.html").as_uri(), **DESK)
    page, press = visit.page, visit.page.keyboard.press
    page.check("#consent")
    page.click("text=Begin")
    for number in range(6):
        assert visit.ready().startswith(f"{number + 1}/6")
        if number == 3:
            page.reload()
            assert visit.ready().startswith("4/6")
        press("a")
        press("Enter")
    visit.ready()
    with page.expect_download() as download:
        page.click("text=Save answers")
    download.value.save_as(tmp_path / "answers.json")
    assert visit.errors == []
    visit.context.close()
    assert import_answers(database, [tmp_path / "answers.json"]) == (1, 0)
    assert [answer.shown.index(answer.chosen[0]) for answer in stored(participation)] == [0] * 6
    with database.reading() as session:
        assert list(read_answers(session).participants["origin"]) == ["file"]


def test_the_organiser_watches(browser, study):
    participation, address = study
    participation.join(None, "en")
    visit = Visit(browser, f"{address}organiser#token={organiser_token(participation.secret)}", **DESK)
    page = visit.page
    page.wait_for_selector(".numbers")
    assert "token" not in page.url
    assert "1/4" in page.locator(".number").first.inner_text()
    page.click("text=Make links")
    page.wait_for_selector(".made textarea")
    assert len(page.locator(".made textarea").input_value().splitlines()) == 10
    page.on("dialog", lambda dialog: dialog.accept())
    page.click("text=Close the study")
    page.wait_for_selector("text=Open again")
    assert participation.state(None) == {"state": "closed"}
    assert visit.errors == []
    visit.context.close()
