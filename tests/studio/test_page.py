"""The studio's page in a real browser: drawn with mouse and keys, saved, opened, edited, compared."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from headless_chromium import chromium
from playwright.sync_api import Browser, Locator, Page, Route, expect
from served_pages import PATIENCE, browsing, served
from studio_helpers import in_base64, make_app, png
from tests_helpers import GOLDEN

from evaluation.report.collect import read_folders
from rotationbench.datasets import open_dataset
from rotationbench.results import ResultStore
from rotationbench.results.record import unknown_cost
from rotationbench.rotation import turn_points

pytestmark = pytest.mark.skipif(chromium() is None, reason="there is no Chromium on this machine")


WIDTH, HEIGHT = 160, 120
MARGIN = 28
"""Pixels that the page leaves around a picture that it fits into the stage."""
Point = tuple[float, float]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as browser:
        yield browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("studio-page")


@pytest.fixture(scope="module")
def address(folder) -> Iterator[str]:
    with served(make_app(folder)) as address:
        yield address


@pytest.fixture
def page(browser, address) -> Iterator[Page]:
    """A page that has said nothing wrong and asked nobody else by the end of the test."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(PATIENCE)
    wrong: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto(address)
    expect(page.locator("body[data-ready]")).to_be_attached()
    yield page
    page.close(run_before_unload=False)
    # A refusal that a test provokes is told by the browser itself.
    assert [text for text in wrong if "status of 4" not in text] == []
    assert [url for url in asked if not url.startswith((address, "blob:", "data:"))] == []


def a_picture() -> np.ndarray:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([columns * 255 // WIDTH, rows * 255 // HEIGHT, (rows * columns) % 256], axis=2).astype(np.uint8)


def open_picture(page: Page, name: str = "turning.png") -> None:
    page.set_input_files("#file-input", {"name": name, "mimeType": "image/png", "buffer": png(a_picture())})
    expect(page.locator("#document-name")).to_have_text(name.removesuffix(".png"))
    expect(page.locator("#welcome")).to_be_hidden()


def on_stage(page: Page, point: Point) -> Point:
    """Where a point of the fitted picture is on the screen."""
    box = page.locator("#stage").bounding_box()
    assert box is not None
    scale = min((box["width"] - 2 * MARGIN) / WIDTH, (box["height"] - 2 * MARGIN) / HEIGHT)
    left, top = box["x"] + (box["width"] - WIDTH * scale) / 2, box["y"] + (box["height"] - HEIGHT * scale) / 2
    return left + point[0] * scale, top + point[1] * scale


def drag_mouse(page: Page, *points: Point) -> None:
    first, *others = (on_stage(page, point) for point in points)
    page.mouse.move(*first)
    page.mouse.down()
    for place in others:
        page.mouse.move(*place, steps=4)
    page.mouse.up()


def click(page: Page, point: Point, **options: Any) -> None:
    page.mouse.click(*on_stage(page, point), **options)


def save_as(page: Page, name: str) -> None:
    page.keyboard.press("Control+s")
    page.fill("#save-name", name)
    page.click("#save-dialog button[type=submit]")
    expect(page.locator("#message")).to_contain_text(f"Saved as {name}")


def open_sample(page: Page, dataset: str, name: str) -> None:
    page.keyboard.press("Control+o")
    page.select_option("#open-dialog select", dataset)
    page.click(f"#shelf button[title='{name}']")
    expect(page.locator("#open-dialog")).to_be_hidden()
    expect(page.locator("#document-name")).to_have_text(name)


def saved(folder: Path, name: str) -> Any:
    return open_dataset(folder / "samples", split="any")[name]


def in_polygon(corners: list[Point]) -> np.ndarray:
    """Bool `(H, W)`: the pixels whose centres lie in a polygon, by the even-odd rule."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    inside = np.zeros((HEIGHT, WIDTH), bool)
    for (ax, ay), (bx, by) in zip(corners, [*corners[1:], corners[0]], strict=True):
        crosses = (ay <= y) != (by <= y)
        with np.errstate(divide="ignore", invalid="ignore"):
            inside ^= crosses & (ax + (y - ay) / (by - ay) * (bx - ax) < x)
    return inside


def number(locator: Locator) -> float:
    return float(locator.get_attribute("aria-valuenow") or "nan")


def test_a_drag_is_drawn_turned_saved_and_comes_back_pixel_for_pixel(page, folder):
    open_picture(page)
    expect(page.locator("#problems")).to_contain_text("Nothing is dragged yet")

    page.keyboard.press("r")
    drag_mouse(page, (20, 20), (100, 90))
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[20:90, 20:100] = True
    page.keyboard.press("p")
    corners = [(110.0, 30.0), (150.0, 60.0), (104.0, 100.0)]
    for corner in corners:
        click(page, corner)
    page.keyboard.press("Enter")
    # Corners lie where the mouse was, to a fraction of a pixel.
    triangle = in_polygon(corners)
    page.keyboard.press("e")
    page.locator("#stage").focus()
    page.keyboard.press("b")

    page.keyboard.press("d")
    drag_mouse(page, (70, 40), (80, 50))
    expect(page.locator(".point.handle")).to_have_count(1)
    page.keyboard.press("o")
    click(page, (60, 60))
    expect(page.locator("#pivot")).to_be_attached()
    page.keyboard.press("d")
    click(page, (40, 50))
    expect(page.locator(".point.handle")).to_have_count(2)

    dial = page.locator("#dial")
    dial.focus()
    before = number(dial)
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowLeft")
    assert number(dial) == pytest.approx(before - 7)
    page.fill("#angle", "25")
    expect(dial).to_have_attribute("aria-valuenow", "25")
    expect(dial).to_have_attribute("aria-valuetext", "25 degrees clockwise")

    page.locator("#handle-1").focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    expect(page.locator("#problems")).to_contain_text("Ready to be saved")
    page.fill("#prompt", 'a <b>bold</b> prompt & "quotes"')
    save_as(page, "drawn")

    sample = saved(folder, "drawn")
    np.testing.assert_array_equal(sample.image, a_picture())
    off = sample.mask ^ (expected | triangle)
    # The rectangle snaps to whole pixels; along the triangle's edges a pixel's centre may fall to either side.
    assert not off[:, :104].any()
    assert off.sum() <= 6
    sources = [[70, 40], [42, 51]]
    targets = turn_points(np.array(sources, float), (60, 60), 25).round().tolist()
    assert sample.sources.xy.tolist() == [*sources, [60, 60]]
    assert sample.targets.xy.tolist() == [*targets, [60, 60]]
    assert (sample.meta.pivot, sample.meta.angle) == ((60, 60), 25)
    assert sample.prompt == 'a <b>bold</b> prompt & "quotes"'

    page.reload()
    expect(page.locator("body[data-ready]")).to_be_attached()
    open_sample(page, "samples", "drawn")
    expect(page.locator("#dial")).to_have_attribute("aria-valuenow", "25")
    expect(page.locator("#prompt")).to_have_value('a <b>bold</b> prompt & "quotes"')
    save_as(page, "drawn-again")
    for file in ("image.png", "mask.png"):
        both = [(folder / "samples" / name / file).read_bytes() for name in ("drawn", "drawn-again")]
        assert both[0] == both[1]
    configs = [json.loads((folder / "samples" / name / "config.json").read_text()) for name in ("drawn", "drawn-again")]
    assert configs[0] == configs[1]

    page.keyboard.press("Control+s")
    page.fill("#save-name", "drawn")
    page.click("#save-dialog button[type=submit]")
    expect(page.locator("#save-dialog")).to_contain_text("There is a sample called drawn.")
    page.click("#save-dialog >> text=Replace it")
    expect(page.locator("#save-dialog")).to_be_hidden()


def mask_of(page: Page, folder: Path, name: str) -> np.ndarray:
    """What is drawn, by way of a saved sample."""
    save_as(page, name)
    return saved(folder, name).mask


def test_masks_are_brushed_erased_grown_inverted_and_all_of_it_is_undone(page, folder):
    open_picture(page, "masks.png")
    page.keyboard.press("d")
    drag_mouse(page, (60, 60), (66, 60))
    page.keyboard.press("r")
    drag_mouse(page, (40, 30), (120, 90))
    box = np.zeros((HEIGHT, WIDTH), bool)
    box[30:90, 40:120] = True
    np.testing.assert_array_equal(mask_of(page, folder, "box"), box)

    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    down = np.maximum(0, np.maximum(30 - rows, rows - 89))
    right = np.maximum(0, np.maximum(40 - columns, columns - 119))
    page.fill("#amount", "5")
    page.click("text=Grow")
    grown = mask_of(page, folder, "grown")
    np.testing.assert_array_equal(grown, down**2 + right**2 <= 25)
    page.click("text=Shrink")
    np.testing.assert_array_equal(mask_of(page, folder, "shrunk"), box)

    # A hole of the brush's size, erased at the cross that the keys move, and filled.
    page.keyboard.press("e")
    page.locator("#stage").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowUp")
    page.keyboard.press("Enter")
    hole = (rows + 0.5 - 50) ** 2 + (columns + 0.5 - 81) ** 2 <= 12**2
    np.testing.assert_array_equal(mask_of(page, folder, "hole"), box & ~hole)
    page.click("text=Fill")
    np.testing.assert_array_equal(mask_of(page, folder, "filled"), box)
    page.click("text=Invert")
    page.keyboard.press("b")
    drag_mouse(page, (60, 60), (100, 60))
    brushed = mask_of(page, folder, "brushed")
    assert brushed[60, 60:100].all() and not brushed[60, 45] and brushed[10, 10]
    # The stroke is as wide as the brush, and as long as its way and the brush.
    stroke = brushed & box
    assert stroke.any(axis=1).sum() == 24 and 62 <= stroke.any(axis=0).sum() <= 66

    # The name that it was saved by, the stroke, and the inversion.
    for _ in range(3):
        page.keyboard.press("Control+z")
    np.testing.assert_array_equal(mask_of(page, folder, "undone"), box)
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+Shift+z")
    expect(page.locator("#message")).to_contain_text("Done again")


def test_undo_takes_back_everything_one_by_one(page):
    open_picture(page, "undo.png")
    undo, redo = page.locator("#undo"), page.locator("#redo")
    expect(undo).to_be_disabled()
    page.keyboard.press("d")
    drag_mouse(page, (50, 50), (70, 50))
    page.keyboard.press("o")
    drag_mouse(page, (30, 50), (40, 60))
    page.keyboard.press("v")
    drag_mouse(page, (50, 50), (55, 45))
    page.fill("#prompt", "a prompt")
    labels = []
    while undo.is_enabled():
        labels.append(undo.get_attribute("title"))
        undo.click()
    assert labels == [
        "Undo: change the prompt",
        "Undo: move handle 1",
        "Undo: move the pivot",
        "Undo: set the pivot",
        "Undo: add handle 1",
    ]
    expect(page.locator(".point")).to_have_count(0)
    while redo.is_enabled():
        redo.click()
    expect(page.locator(".point")).to_have_count(3)
    expect(page.locator("#handle-0")).to_have_attribute("aria-label", "Handle 1, x 55, y 45.")
    expect(page.locator("#prompt")).to_have_value("a prompt")
    # Another picture is an entry too: it can be opened by mistake.
    open_picture(page, "other.png")
    expect(page.locator(".point")).to_have_count(0)
    undo.click()
    expect(page.locator(".point")).to_have_count(3)
    expect(page.locator("#document-name")).to_have_text("undo")


def test_the_page_knows_what_is_saved(page):
    state = page.locator("#document-state")
    open_picture(page, "kept.png")
    expect(state).to_have_text("not saved")
    page.keyboard.press("d")
    drag_mouse(page, (50, 50), (70, 50))
    page.keyboard.press("r")
    drag_mouse(page, (20, 20), (100, 90))
    save_as(page, "kept")
    expect(state).to_have_text("")
    drag_mouse(page, (5, 5), (15, 15))
    expect(state).to_have_text("not saved")
    for key, says in (("Control+z", ""), ("Control+Shift+z", "not saved"), ("Control+z", "")):
        page.keyboard.press(key)
        expect(state).to_have_text(says)
    page.keyboard.press("e")
    click(page, (140, 110))
    expect(state).to_have_text("")
    open_picture(page, "another.png")
    expect(state).to_have_text("not saved")
    page.keyboard.press("Control+z")
    expect(state).to_have_text("")
    points = b'{"prompt": "", "points": [[25, 25], [40, 25]]}'
    page.set_input_files("#file-input", {"name": "config.json", "mimeType": "application/json", "buffer": points})
    expect(page.locator("#handle-0")).to_have_attribute("aria-label", "Handle 1, x 25, y 25.")
    expect(state).to_have_text("not saved")


def test_what_is_wrong_is_said_at_its_place_before_anything_runs(page):
    open_picture(page, "wrong.png")
    page.click("#tab-edit")
    expect(page.locator("#run")).to_be_disabled()
    expect(page.locator("#run-why")).to_contain_text("Nothing is dragged yet")
    page.click("#tab-drag")
    page.keyboard.press("r")
    drag_mouse(page, (10, 10), (50, 50))
    page.keyboard.press("d")
    drag_mouse(page, (80, 80), (90, 100))
    expect(page.locator("#problems")).to_contain_text("Handle 1 lies outside the mask")
    expect(page.locator("#handle-0")).to_have_class("point handle faulty")
    expect(page.locator("#handle-0")).to_have_attribute(
        "aria-label", "Handle 1, x 80, y 80. " + ("Handle 1 lies outside the mask: nothing there may change.")
    )
    page.click("#problems >> text=Handle 1 lies outside")
    expect(page.locator("#handle-0")).to_be_focused()
    page.locator("#target-0").focus()
    for _ in range(3):
        page.keyboard.press("Shift+ArrowDown")
    expect(page.locator("#problems")).to_contain_text("Target 1 lies outside the picture.")
    page.fill("#sample-name", "../x")
    expect(page.locator("#problems")).to_contain_text("A name has no slashes")


def test_edits_run_with_progress_are_cancelled_compared_and_downloaded(page, folder):
    open_picture(page, "edited.png")
    page.keyboard.press("r")
    drag_mouse(page, (30, 20), (130, 100))
    page.keyboard.press("o")
    click(page, (80, 60))
    page.keyboard.press("d")
    click(page, (110, 60))
    page.locator("#dial").focus()
    page.keyboard.press("PageUp")
    page.keyboard.press("PageUp")
    page.keyboard.press("v")

    page.keyboard.press("2")
    page.select_option("#method", "turn")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#compare")).to_be_visible()
    expect(page.locator("#results .card")).to_have_count(1)
    divider = page.locator(".divider")
    divider.focus()
    page.keyboard.press("ArrowRight")
    expect(divider).to_have_attribute("aria-valuenow", "52")
    for way in ("Onion skin", "Difference", "Side by side"):
        page.click(f"#options >> text={way}")
    expect(page.locator(".tile")).to_have_count(2)
    page.keyboard.press("Escape")
    expect(page.locator("#compare")).to_be_hidden()

    page.click("#tab-edit")
    page.select_option("#method", "dragdiffusion")
    page.click("summary")
    page.fill("#set-max_steps", "-3")
    expect(page.locator("#set-max_steps-error")).to_have_text("expected 1 or more.")
    expect(page.locator("#run")).to_be_disabled()
    page.fill("#set-max_steps", "6")
    page.fill("#set-lora\\.steps", "3")
    expect(page.locator("summary")).to_have_text("Settings (2 changed)")
    page.click("#run")
    card = page.locator("#panel-edit .card").first
    expect(card.locator(".phases")).to_contain_text("LoRA")
    expect(page.locator("#results .card")).to_have_count(2)
    expect(page.locator("#compare")).to_be_visible()
    expect(page.locator("#panel-edit .card").first.locator(".badge")).to_have_text("done")
    for box in page.locator("#results input[type=checkbox]").all():
        box.check()
    expect(page.locator(".tile")).to_have_count(3)
    expect(page.locator("#results .card.chosen")).to_have_count(2)

    page.click("#tab-edit")
    page.fill("#set-max_steps", "100000")
    page.fill("#set-stop_distance", "0.001")
    page.click("#run")
    page.click("#run")
    waiting, running = page.locator("#panel-edit .card").nth(0), page.locator("#panel-edit .card").nth(1)
    expect(waiting.locator(".badge")).to_have_text("waits, 1.")
    expect(running.locator("p")).to_contain_text("drag · step")
    expect(running.locator(".phases li.now")).to_contain_text("drag")
    # The ways of the handle and of the pivot's pair, over the picture.
    expect(page.locator("#overlay .path-end")).to_have_count(2)
    waiting.locator("text=Cancel").click()
    expect(waiting.locator(".badge")).to_have_text("cancelled")
    running.locator("text=Cancel").click()
    expect(running.locator(".badge")).to_have_text("cancelled")

    page.click("#tab-results")
    with page.expect_download() as download:
        page.click("text=Download")
    with zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes())) as archive:
        archive.extractall(folder / "downloaded")
    (read,) = read_folders([folder / "downloaded" / "results"])
    assert sorted(read.table["method"]) == ["dragdiffusion", "turn"]
    assert read.table["sample"].unique().tolist() == ["edited"]

    # An edit that came from elsewhere, of which only the picture is known, is shown beside them.
    store = ResultStore(folder / "results")
    made = store.read("turn", "edited")
    store.save(made.record | unknown_cost() | {"label": "elsewhere"}, image=a_picture())
    page.click("#tab-drag")
    page.click("#tab-results")
    expect(page.locator("#results .card")).to_have_count(3)


def test_files_of_the_rotationdrag_interface_open_together(page, folder):
    case = GOLDEN / "cases" / "cat"
    page.set_input_files("#file-input", [case / name for name in ("image.png", "mask.png", "config.json")])
    expect(page.locator("#prompt")).not_to_have_value("")
    expect(page.locator("#document-name")).to_have_text("without a name")
    save_as(page, "from-the-interface")
    sample, original = saved(folder, "from-the-interface"), open_dataset(GOLDEN / "cases", split="any")["cat"]
    np.testing.assert_array_equal(sample.image, original.image)
    np.testing.assert_array_equal(sample.mask, original.mask)
    assert sorted(sample.sources.xy.tolist()) == sorted(original.sources.xy.tolist())
    assert sample.prompt == original.prompt


def test_the_shelf_shows_the_data_set_that_was_chosen_last(page):
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/api/datasets/samples", hold)
    page.keyboard.press("Control+o")
    page.select_option("#open-dialog select", "cases")
    cat = page.locator("#shelf button[title='cat']")
    expect(cat).to_be_visible()
    with page.expect_response("**/api/datasets/samples") as response:
        held[0].fulfill(json={"samples": ["late"]})
    response.value.finished()
    page.wait_for_timeout(200)
    expect(cat).to_be_visible()
    expect(page.locator("#open-dialog select")).to_have_value("cases")


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_a_picture_is_pasted_or_dropped(page, kind):
    script = """([kind, content]) => {
        const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
        const transfer = new DataTransfer();
        transfer.items.add(new File([bytes], 'carried.png', { type: 'image/png' }));
        const details = { bubbles: true, cancelable: true };
        document.dispatchEvent(kind === 'paste'
            ? new ClipboardEvent('paste', { clipboardData: transfer, ...details })
            : new DragEvent('drop', { dataTransfer: transfer, ...details }));
    }"""
    page.evaluate(script, [kind, in_base64(png(a_picture()))])
    expect(page.locator("#document-name")).to_have_text("carried")
    expect(page.locator("#panel-drag")).to_contain_text("160 × 120 pixels")


def test_names_and_prompts_are_text_and_nothing_else(page, folder):
    name = "<img src=x onerror=alert(1)>"
    shutil.copytree(GOLDEN / "cases" / "cat", folder / "samples" / name)
    config = folder / "samples" / name / "config.json"
    content = json.loads(config.read_text()) | {"prompt": "<script>alert(2)</script>"}
    config.write_text(json.dumps(content))
    try:
        page.keyboard.press("Control+o")
        page.select_option("#open-dialog select", "samples")
        page.locator("#shelf button", has_text="onerror").click()
        expect(page.locator("#document-name")).to_have_text(name)
        expect(page.locator("#prompt")).to_have_value("<script>alert(2)</script>")
        page.keyboard.press("2")
        page.select_option("#method", "nothing")
        page.click("#run")
        expect(page.locator("#results .card").first).to_contain_text(name)
        assert page.locator("img[src='x']").count() == 0
        assert page.locator("body script").count() == 0
    finally:
        shutil.rmtree(folder / "samples" / name)


def test_everything_can_be_done_without_a_mouse(page, folder):
    page.keyboard.press("Control+o")
    page.keyboard.press("Tab")
    expect(page.locator("#open-dialog")).to_be_visible()
    page.locator("#open-dialog select").focus()
    page.keyboard.press("c")
    expect(page.locator("#open-dialog select")).to_have_value("cases")
    page.locator("#shelf button[title='cat']").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#stage")).to_be_focused()

    def use_at(x: int, y: int) -> None:
        # The cross starts in the middle of the picture, 64, 64.
        for place, target, keys in ((at[0], x, ("ArrowLeft", "ArrowRight")), (at[1], y, ("ArrowUp", "ArrowDown"))):
            way = target - place
            for step, prefix in ((10, "Shift+"), (1, "")):
                for _ in range(abs(way) // step):
                    page.keyboard.press(prefix + keys[way > 0])
                way = (abs(way) % step) * (1 if way > 0 else -1)
        at[:] = [x, y]
        page.keyboard.press("Enter")

    at = [64, 64]
    page.keyboard.press("r")
    use_at(30, 30)
    use_at(100, 110)
    page.keyboard.press("d")
    handles = page.locator(".point.handle").count()
    # With a pivot, a handle's target is where the turn leads.
    use_at(60, 60)
    expect(page.locator(".point.handle")).to_have_count(handles + 1)
    page.keyboard.press("Tab")
    focused = page.evaluate("() => document.activeElement.id")
    assert focused.startswith(("dial", "handle", "target", "pivot"))
    assert page.evaluate("() => document.activeElement.matches(':focus-visible')")
    page.locator(f"#handle-{handles}").focus()
    page.keyboard.press("Delete")
    expect(page.locator(".point.handle")).to_have_count(handles)


NAMELESS = """() => [...document.querySelectorAll(
        'button, input, select, textarea, [role=slider], [role=button], summary')]
    .filter((node) => node.type !== 'file' && node.checkVisibility())
    .filter((node) => !(node.textContent.trim() || node.getAttribute('aria-label') || node.labels?.length))
    .map((node) => node.outerHTML.slice(0, 120))"""
TOO_WIDE = """() => [...document.querySelectorAll('body *')]
    .filter((node) => node.checkVisibility())
    .filter((node) => !node.closest('svg, .tiles, .shelf, dialog, .visually-hidden, .skip'))
    .filter((node) => { const box = node.getBoundingClientRect();
        return box.width > 0 && (box.right > innerWidth + 1 || box.left < -1); })
    .map((node) => node.outerHTML.slice(0, 120))"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 820])
def test_everything_has_a_name_and_its_place(browser, address, scheme, width):
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    expect(page.locator("body[data-ready]")).to_be_attached()
    assert page.evaluate("() => document.documentElement.dataset.theme") == scheme
    open_sample(page, "cases", "cat")
    for key in ("b", "p", "d", "o", "v"):
        page.keyboard.press(key)
        assert page.evaluate(NAMELESS) == []
        assert page.evaluate(TOO_WIDE) == []
    for tab in ("edit", "results", "drag"):
        page.click(f"#tab-{tab}")
        if tab == "edit":
            page.click("summary")
        assert page.evaluate(NAMELESS) == []
        assert page.evaluate(TOO_WIDE) == []
    page.click("#theme")
    assert page.evaluate("() => document.documentElement.dataset.theme") != scheme
    page.close()


def test_two_fingers_zoom_and_a_pen_draws_by_its_pressure(page, folder):
    open_picture(page, "pen.png")
    page.keyboard.press("d")
    drag_mouse(page, (80, 30), (84, 34))
    page.keyboard.press("b")
    send = """([kind, x, y, pointer, pressure, id]) => document.getElementById('stage').dispatchEvent(
        new PointerEvent(kind, { clientX: x, clientY: y, pointerType: pointer, pressure, pointerId: id, button: 0,
                                 buttons: 1, bubbles: true, cancelable: true, isPrimary: id === 1 }))"""
    page.evaluate("() => { Element.prototype.setPointerCapture = () => {}; }")
    for row, pressure in ((30, 1.0), (90, 0.1)):
        x, y = on_stage(page, (80, row))
        page.evaluate(send, ["pointerdown", x, y, "pen", pressure, 1])
        page.evaluate(send, ["pointerup", x, y, "pen", 0.0, 1])
    mask = mask_of(page, folder, "pen")
    assert mask[30:42, 80].all() and not mask[97, 80] and mask[90, 80]

    zoom = page.locator("#zoom-fit")
    before = int((zoom.text_content() or "").split()[0])
    (ax, ay), (bx, by) = on_stage(page, (70, 60)), on_stage(page, (90, 60))
    page.evaluate(send, ["pointerdown", ax, ay, "touch", 0.5, 1])
    page.evaluate(send, ["pointerdown", bx, by, "touch", 0.5, 2])
    page.evaluate(send, ["pointermove", bx + (bx - ax), by, "touch", 0.5, 2])
    for pointer in (1, 2):
        page.evaluate(send, ["pointerup", bx, by, "touch", 0.0, pointer])
    after = int((zoom.text_content() or "").split()[0])
    assert after == pytest.approx(2 * before, abs=2)
    # The finger that began to draw before the second came has drawn nothing.
    np.testing.assert_array_equal(mask_of(page, folder, "pinched"), mask)
