"""The report's page in a real browser."""

from __future__ import annotations

import json

import pytest
from headless_chromium import Page, chromium
from synthetic_results import NASTY, make_sample


@pytest.fixture(scope="module")
def page(report):
    program = chromium()
    if program is None:
        pytest.skip("there is no chromium on this machine")
    with Page(program) as browser:
        browser.open(report)
        yield browser


def cards(page: Page) -> list[list[str]]:
    found = page.run("[...document.querySelectorAll('.card')].map((c) => [c.dataset.method, c.dataset.sample])")
    return [tuple(card) for card in found]


@pytest.fixture
def gallery(page):
    page.click("button[type=reset]")
    page.run("new Promise((done) => setTimeout(done, 50))")
    return page


def test_the_page_loads_without_errors_or_requests(page, report):
    assert page.errors == []
    assert page.requests == [report.resolve().as_uri()]
    assert page.run("document.title") == "Known answers"


def test_all_edits_are_there_with_their_pictures(gallery):
    assert len(cards(gallery)) == 13
    assert gallery.run("document.getElementById('shown').textContent") == "13 of 13 edits"
    pictures = "[...document.querySelectorAll('.card img, .plots img')]"
    widths = gallery.run(f"Promise.all({pictures}.map((i) => i.decode().then(() => i.naturalWidth)))")
    assert len(widths) > 12 * 2
    assert min(widths) > 0
    assert gallery.run("document.querySelector('.card .failed').textContent") == "RuntimeError: out of memory"


def test_filters_choose_by_method_split_angle_and_name(gallery):
    gallery.choose(
        "#filter-method",
        gallery.run(
            "[...document.querySelectorAll('#filter-method option')].find((o) => o.textContent === 'idle').value"
        ),
    )
    assert cards(gallery) == [("idle", f"blob00{index}") for index in range(4)]
    gallery.choose("#filter-split", "generated")
    assert cards(gallery) == [("idle", "blob000"), ("idle", "blob002")]
    gallery.choose("#filter-bin", "60°–90°")
    assert cards(gallery) == [("idle", "blob002")]
    gallery.click("button[type=reset]")
    gallery.run("new Promise((done) => setTimeout(done, 50))")
    assert len(cards(gallery)) == 13
    gallery.choose("#filter-name", "B000")
    assert {sample for _, sample in cards(gallery)} == {"blob000"}
    gallery.choose("#filter-status", "failed")
    assert cards(gallery) == []


def test_worst_cases_come_first(gallery):
    gallery.choose("#filter-order", "worst:rotation_error")
    gallery.choose("#filter-count", "3")
    # The failed edit, then turns that are off by 140 and by 100 degrees.
    assert cards(gallery) == [("backwards", "blob003"), ("backwards", "blob002"), ("idle", "blob003")]
    gallery.choose("#filter-order", "best:psnr_target")
    assert {method for method, _ in cards(gallery)} == {"truth"}


def test_the_slider_moves_the_border_between_before_and_after(gallery):
    gallery.choose(".card input[type=range]", "25")
    shown = gallery.run("document.querySelectorAll('.card .picture')[0].querySelectorAll('img')[1].style.clipPath")
    assert shown.replace("0px", "0").startswith("inset(0 75% 0 0")
    gallery.choose("#filter-before", "target")
    label = gallery.run("document.querySelector('.card input[type=range]').getAttribute('aria-label')")
    assert label == "left: exact result, right: edited"


def test_ways_are_drawn_from_source_to_target_and_can_be_hidden(gallery):
    way = gallery.run("document.querySelector('.card polyline').getAttribute('points')").split()
    sample = make_sample(0, 96)
    first, last = ([float(part) for part in point.split(",")] for point in (way[0], way[-1]))
    assert first == pytest.approx(sample.sources.xy[0] + 0.5, abs=0.1)
    assert last == pytest.approx(sample.targets.xy[0] + 0.5, abs=0.1)
    gallery.click("#filter-points")
    assert gallery.run("getComputedStyle(document.querySelector('.card svg')).display") == "none"


def test_each_edit_s_record_opens(gallery):
    gallery.choose("#filter-name", "blob001")
    gallery.choose("#filter-method", "1")
    gallery.click(".card details:last-of-type summary")
    gallery.run("new Promise((done) => setTimeout(done, 50))")
    record = json.loads(gallery.run("document.querySelector('.card pre').textContent"))
    assert (record["method"], record["sample"]["name"], record["config"]["note"]) == ("idle", "blob001", NASTY)
    assert gallery.errors == []
