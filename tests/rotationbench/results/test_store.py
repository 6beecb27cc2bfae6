from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic_results import make_sample

from rotationbench.errors import ResultsError
from rotationbench.results import ResultStore, changes, fingerprint, read_edit, write_table


def make_record(label: str = "m", sample: str = "s", **changes) -> dict:
    return {
        "schema": 1,
        "status": "done",
        "method": "m",
        "label": label,
        "seed": 0,
        "sample": {"name": sample, "split": "real", "category": None, "angle": 30.0},
        "identity": {},
        "fingerprint": "f",
        "seconds": 2.0,
        "phases": {"drag": 1.5, "sampling": 0.5},
        "unet_calls": 7,
        "unet_images": 9,
        "peak_memory_mb": 1.0,
        "steps": 3,
        "converged": None,
        "final_distances": [1.0, 3.0],
        "distance_left": [20.0, 2.0],
        "error": None,
    } | changes


IMAGE = np.full((8, 8, 3), 7, dtype=np.uint8)


def test_an_edit_comes_back_as_saved(tmp_path):
    store = ResultStore(tmp_path)
    folder = store.save(make_record(), image=IMAGE, trace={"inverted": np.ones((1, 4, 2, 2), np.float32)}).folder
    assert {file.name for file in folder.iterdir()} == {"edited.png", "trace.npz", "record.json"}
    edit = store.read("m", "s")
    assert edit.done and edit.record["steps"] == 3 and edit.metrics == {}
    assert not any((tmp_path / ".staging").iterdir())


def test_what_is_not_whole_is_no_edit(tmp_path):
    store = ResultStore(tmp_path)
    folder = store.save(make_record(), image=IMAGE).folder
    (folder / "edited.png").write_bytes(b"half")
    assert store.read("m", "s") is None
    folder = store.save(make_record(), image=IMAGE).folder
    (folder / "edited.png").unlink()
    assert store.read("m", "s") is None
    folder = store.save(make_record(), image=IMAGE).folder
    (folder / "record.json").write_text("{")
    assert store.read("m", "s") is None
    assert read_edit(tmp_path / "nowhere") is None
    (damaged,) = store.edits()
    assert not damaged.done and damaged.damage.startswith(str(folder / "record.json"))


def test_a_failure_while_writing_leaves_the_old_edit(tmp_path):
    store = ResultStore(tmp_path)
    store.save(make_record(steps=1), image=IMAGE)
    with pytest.raises(ValueError, match="JSON"):
        store.save(make_record(steps=2, seconds=float("nan")), image=IMAGE)
    assert store.read("m", "s").record["steps"] == 1
    assert not any((tmp_path / ".staging").iterdir())


def test_replacing_an_edit_drops_what_belonged_to_the_old_one(tmp_path):
    store = ResultStore(tmp_path)
    folder = store.save(make_record(), image=IMAGE).folder
    (folder / "metrics.json").write_text(json.dumps({"metrics": {"psnr": {"value": 3.0}}}))
    assert store.read("m", "s").metrics == {"psnr": 3.0}
    store.save(make_record(steps=9), image=IMAGE)
    assert store.read("m", "s").metrics == {}


def test_tables_are_rebuilt_from_records(tmp_path):
    store = ResultStore(tmp_path)
    folder = store.save(make_record(), image=IMAGE).folder
    metrics = {"psnr": {"value": "inf"}, "mean_distance": {"value": 2.5}, "rotation_error": {"value": None}}
    (folder / "metrics.json").write_text(json.dumps({"metrics": metrics}))
    error = {"type": "E", "message": "why", "traceback": ""}
    empty = dict.fromkeys(("seconds", "phases", "unet_calls", "unet_images", "peak_memory_mb", "steps"))
    store.save(make_record(sample="t", status="failed", error=error, final_distances=None, **empty))
    (tmp_path / "samples" / "s").mkdir(parents=True)
    (tmp_path / "samples" / "s" / "record.json").write_text("{}")
    table = write_table(store)
    assert list(table["sample"]) == ["s", "t"]
    assert table["final_distance"][0] == 2.0
    assert table["psnr"][0] == np.inf
    assert table["error"][1] == "why"
    assert pd.isna(table["rotation_error"][0])
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "edits.parquet"), table, check_dtype=False)
    assert len(pd.read_csv(tmp_path / "edits.csv")) == 2


def test_fingerprints_and_differences():
    old = {"method": {"lam": 0.1, "r_m": 1}, "seed": 0}
    new = {"method": {"lam": 0.2, "r_m": 1}, "seed": 0, "dtype": "x"}
    assert fingerprint(old) == fingerprint(dict(reversed(old.items())))
    assert fingerprint(old) != fingerprint(new)
    assert changes(old, new) == ["dtype: None → x", "method.lam: 0.1 → 0.2"]


def test_a_lock_is_exclusive_per_edit_and_can_be_taken_again_by_its_holder(tmp_path):
    from filelock import FileLock, Timeout

    store = ResultStore(tmp_path)
    with store.lock("m", "s"), store.lock("m", "t"), store.lock("m", "s"):
        # What another process would open.
        for name in ("s", "t"):
            with pytest.raises(Timeout):
                FileLock(store.lock("m", name).lock_file).acquire(blocking=False)
    FileLock(store.lock("m", "s").lock_file).acquire(blocking=False)


@pytest.mark.parametrize("place", ["file", "file/below", "x" * 300, "/proc/nowhere"])
def test_kind_28_a_results_folder_that_cannot_be_used_is_one_line(tmp_path, place):
    (tmp_path / "file").touch()
    with pytest.raises(ResultsError, match=r"expected a folder|File name too long"):
        ResultStore(tmp_path / place).make()


def test_kind_39_a_sample_is_found_without_looking_through_the_others(tmp_path, monkeypatch):
    store = ResultStore(tmp_path)
    for index in range(5):
        store.keep_sample(make_sample(index, 48), replace=False)
    listed = set()
    scandir = os.scandir

    def watched(path):
        listed.add(Path(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", watched)
    assert store.sample("blob003").name == "blob003"
    assert listed == {tmp_path / "samples" / "blob003"}
