from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from edits_on_disk import save_edit

from benchmarks import scaling
from rotationbench.results import ResultStore

START = datetime(2030, 1, 1, tzinfo=UTC)


def save(root, sample, begun, ended, **changes):
    times = {"started": START + timedelta(seconds=begun), "finished": START + timedelta(seconds=ended)}
    return save_edit(root, "turn", sample, **{key: time.isoformat() for key, time in times.items()}, **changes)


def test_the_span_reaches_from_the_first_start_to_the_last_end(tmp_path):
    save(tmp_path, "a", 10, 14)
    save(tmp_path, "b", 12, 31)
    save(tmp_path, "c", 14, 20)
    assert scaling.span(ResultStore(tmp_path).edits()) == 21


def test_times_and_places_make_no_difference_and_pictures_do(tmp_path):
    for folder, changes in (("one", {}), ("other", {"peak_memory_mb": 7.0}), ("darker", {"grey": 9})):
        save(tmp_path / folder, "a", len(folder), 9, **changes)
    one, other, darker = (scaling.content(ResultStore(tmp_path / name).edits()) for name in ("one", "other", "darker"))
    assert set(one) == {("turn", "a")}
    assert set(one["turn", "a"][1]) == {"edited.png"}
    assert one == other
    assert one != darker


def test_the_ways_are_compared_within_a_round(tmp_path, monkeypatch, capsys):
    def fill(way, settings, out):
        assert settings == ["method=turn", "limit=2"]
        for sample in ("a", "b"):
            save(out, sample, 0, 8 if way == scaling.ALONE else 5, grey=3 if way == "workers=2" else 0)

    monkeypatch.setattr(scaling, "shared", fill)
    assert scaling.main(["--rounds", "2", "--limit", "2", "--out", str(tmp_path), "method=turn"]) == 1
    table = pd.read_csv(tmp_path / "scaling.csv").set_index(["round", "way"])
    assert len(table) == 2 * len(scaling.WAYS)
    assert table.loc[(1, "workers=2"), "of one process"] == 5 / 8
    assert not table.loc[(0, "workers=2"), "equal"]
    assert table.loc[(0, "two runs, one folder"), "equal"]
    assert "| workers=2" in capsys.readouterr().out


def test_a_run_that_fails_is_no_measurement(tmp_path):
    with pytest.raises(subprocess.CalledProcessError):
        scaling.shared(scaling.ALONE, ["method=none-of-them"], tmp_path / "results")
    assert "none-of-them" in (tmp_path / "run-0.log").read_text()
