from __future__ import annotations

import numpy as np
import pandas as pd
from PIL import Image

from rotationbench.results import ResultStore, write_table
from rotationbench.results.sheet import chosen_rows, draw_sheet, write_sheet


def test_kind_36_the_sheet_shows_a_bounded_choice_or_all_on_pages(old):
    store = ResultStore(old)
    table = write_table(store)
    (sheet,) = draw_sheet(store, table, rows=24, pages=False)
    with Image.open(sheet) as picture:
        both = picture.height
    (sheet,) = draw_sheet(store, table, rows=1, pages=False)
    with Image.open(sheet) as picture:
        assert picture.height < 0.6 * both
    pages = draw_sheet(store, table, rows=1, pages=True)
    assert [page.name for page in pages] == ["contact_sheet.jpg", "contact_sheet-2.jpg"]
    assert draw_sheet(store, table[:0], rows=1, pages=False) == []


def test_kind_36_a_sheet_is_drawn_only_when_it_would_show_something_else(old):
    store = ResultStore(old)
    table = write_table(store)
    (sheet,) = draw_sheet(store, table, rows=24, pages=False)
    before = sheet.stat().st_mtime_ns
    assert draw_sheet(store, table, rows=24, pages=False) == []
    assert sheet.stat().st_mtime_ns == before
    # Whatever it was that left another one there, such as a run that was killed before it drew this one.
    for content in (b"", b"no picture"):
        sheet.write_bytes(content)
        draw_sheet(store, table, rows=24, pages=False)
        with Image.open(sheet) as picture:
            picture.load()
    store.restate(store.read("dragdiffusion", "cat"), {"remake": {"message": "failed"}})
    assert draw_sheet(store, write_table(store), rows=24, pages=False) == [sheet]


def test_kind_36_a_sheet_has_a_bounded_size(tmp_path, monkeypatch):
    monkeypatch.setattr("rotationbench.results.sheet.LARGEST_FILE", 50_000)
    noise = np.random.default_rng(0).integers(0, 256, (600, 400, 3), np.uint8)
    write_sheet(tmp_path / "sheet.jpg", noise, "digest")
    assert 1_000 < (tmp_path / "sheet.jpg").stat().st_size <= 50_000


def test_the_choice_holds_the_best_and_the_worst():
    names = [f"s{index:02d}" for index in range(30)]
    done = pd.DataFrame({"sample": names, "mean_distance": np.arange(30.0)})
    chosen = chosen_rows(done, names, 9)
    assert len(chosen) == 9 and chosen == sorted(chosen)
    assert {"s00", "s01", "s02", "s27", "s28", "s29"} <= set(chosen)
    assert chosen == chosen_rows(done, names, 9)
    assert chosen_rows(done, names[:5], 9) == names[:5]
