"""Mutated records and measured values: each is a row and a card, or counts as not made, and costs little."""

from __future__ import annotations

import json
import logging
import resource
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from synthetic_results import write_results
from tests_helpers import places_in

from evaluation.report.build import combined_table, compare_all, variants_in_order
from evaluation.report.collect import read_folders
from evaluation.report.gallery import gallery_data
from evaluation.report.plots import all_plots
from evaluation.report.provenance import differing_settings, incomparable_metrics, notices
from evaluation.report.styles import method_styles
from evaluation.suite import MetricSuite
from rotationbench.errors import RotationBenchError
from rotationbench.results import ResultStore, write_table
from rotationbench.results.table import summary

SECONDS, MEGABYTES = 2, 500
SEEDED = settings(
    derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), database=None, phases=[Phase.generate]
)

VALUES = st.sampled_from(
    (
        *("null", "true", "-1", "0", "1e20", "1e300", "1e999", "NaN", "-Infinity", "1" + "0" * 400, "1" + "0" * 5000),
        *('""', '"\\ud800"', '"\\u0000"', '"../x"', '"' + "x" * 20_000 + '"', "[]", "{}", "[[1, 2]]", "[1, 2]"),
        *("[" * 50 + "]" * 50, "[" * 100_000, '{"a": {"a": 1}}', '[["a", "b"]]', '{"edited.png": 5}', '"inf"'),
    )
)
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["record.json", "metrics.json"]),
        st.one_of(
            st.tuples(st.just("value"), st.floats(0, 1), VALUES),
            st.tuples(st.just("value"), st.floats(0, 1), VALUES),
            st.tuples(st.just("drop"), st.floats(0, 1), st.none()),
            st.tuples(st.just("bytes"), st.floats(0, 1), st.binary(min_size=1, max_size=6)),
            st.tuples(st.just("cut"), st.floats(0, 1), st.none()),
        ),
    ),
    min_size=1,
    max_size=3,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    root = write_results(tmp_path_factory.mktemp("whole") / "results", samples=2, methods=("idle", "truth"), side=32)
    suite = MetricSuite(["psnr", "background_psnr"], device="cpu")
    store = ResultStore(root)
    for edit in store.edits():
        suite.evaluate_edit(edit, store.sample(edit.sample_name), None)
    return root


def mutated(content: bytes, kind: str, place: float, value: str | bytes | None) -> bytes:
    at = int(place * len(content))
    if kind == "bytes":
        return content[:at] + value + content[at + len(value) :]
    if kind == "cut":
        return content[:at]
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError):
        return content
    places = places_in(parsed)
    if not places:
        return content
    node, key = places[min(int(place * len(places)), len(places) - 1)]
    if kind == "drop":
        del node[key]
        return json.dumps(parsed).encode()
    node[key] = "@@here@@"
    return json.dumps(parsed).replace('"@@here@@"', value).encode()


def read_all(root: Path) -> None:
    """What the table and the report make of a folder, but for figures and means, which are made of the table alone."""
    print(len(summary(write_table(ResultStore(root)), ["psnr"])))
    try:
        folders = read_folders([root])
    except RotationBenchError:
        # Edits of one sample that claim to be of different ones are not put into one mean.
        return
    table = combined_table(folders)
    styles = method_styles(variants_in_order(folders))
    print(len(notices(folders, table)), len(differing_settings(folders)), len(incomparable_metrics(folders)))
    json.dumps(gallery_data(folders, table, styles, 64)[0], allow_nan=False).encode(errors="surrogatepass")


def check(whole: Path, root: Path, changes: list) -> None:
    if root.exists():
        shutil.rmtree(root)
    shutil.copytree(whole, root)
    for name, (kind, place, value) in changes:
        path = root / "idle" / "blob000" / name
        path.write_bytes(mutated(path.read_bytes(), kind, place, value))
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    read_all(root)
    assert time.process_time() - began < SECONDS
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MEGABYTES


@pytest.mark.parametrize("count", [15, pytest.param(300, marks=pytest.mark.slow)])
def test_mutated_results_are_read_or_count_as_not_made(whole, tmp_path, count):
    logging.disable(logging.WARNING)
    try:
        settings(SEEDED, max_examples=count)(given(CHANGES)(lambda changes: check(whole, tmp_path / "r", changes)))()
    finally:
        logging.disable(logging.NOTSET)


def test_every_figure_is_drawn_of_a_mutated_folder(whole, tmp_path):
    root = shutil.copytree(whole, tmp_path / "results")
    for number, value in enumerate(('"distance_left": []', '"distance_left": [0.0]')):
        path = root / "idle" / f"blob{number:03d}" / "record.json"
        record = json.loads(path.read_text()) | json.loads(f'{{{value}, "phases": {{}}, "trajectory": []}}')
        path.write_text(json.dumps(record))
    folders = read_folders([root])
    table = combined_table(folders)
    styles = method_styles(variants_in_order(folders))
    edits = list(zip(table["variant"], folders[0].edits, strict=True))
    assert {name for name, _, _ in all_plots(table, edits, styles)}
    assert compare_all(table, list(styles), [])
