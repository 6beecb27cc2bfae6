from __future__ import annotations

import hashlib
import json
import shutil

import pandas as pd
import pytest

from rotationbench.results import ResultStore, edits_table, write_table
from rotationbench.results.index import INDEX_FILE, in_short
from rotationbench.results.table import harmless


def test_only_records_that_were_touched_are_read_again(old, monkeypatch):
    from rotationbench.results import edit as reading

    first = write_table(ResultStore(old))
    read = []
    monkeypatch.setattr(reading, "check_record", lambda record: read.append(record["sample"]["name"]))
    again = write_table(ResultStore(old))
    assert read == []
    pd.testing.assert_frame_equal(again, first)
    assert (old / "edits.csv").read_text() == harmless(first).to_csv(index=False)
    edit = next(iter(ResultStore(old).edits()))
    read.clear()
    record = edit.folder / "record.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"seed": 7}))
    changed = write_table(ResultStore(old))
    assert read == [edit.sample_name]
    assert list(changed["seed"]) == [7, *first["seed"][1:]]
    shutil.rmtree(edit.folder)
    assert len(write_table(ResultStore(old))) == len(first) - 1


def hashed(text: str) -> bytes:
    return hashlib.sha256(text.encode()).hexdigest().encode() + b"\n" + text.encode()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: b"",
        lambda content: content[:-20],
        lambda content: content.replace(b'"done"', b'"lost"'),
        lambda content: hashed('{"version": 0, "edits": {"dragdiffusion/cat": []}}'),
    ],
    ids=["empty", "cut short", "altered", "another version"],
)
def test_an_index_that_cannot_be_used_is_made_again(old, spoil):
    first = write_table(ResultStore(old))
    index = old / INDEX_FILE
    sound = index.read_bytes()
    index.write_bytes(spoil(sound))
    pd.testing.assert_frame_equal(write_table(ResultStore(old)), first)
    assert index.read_bytes() == sound


def test_an_index_says_of_edits_what_their_records_say(old):
    write_table(ResultStore(old))
    whole, short = list(ResultStore(old).edits()), ResultStore(old).index.edits()
    assert [edit.folder for edit in short] == [edit.folder for edit in whole]
    for one, other in zip(short, whole, strict=True):
        assert (one.done, one.metrics, one.record) == (other.done, other.metrics, in_short(other.record))
    pd.testing.assert_frame_equal(edits_table(short), edits_table(whole))
