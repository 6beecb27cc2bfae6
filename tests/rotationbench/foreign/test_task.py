"""`task=import`: foreign edits become edits like any others."""

from __future__ import annotations

import json
import logging
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from synthetic_results import make_sample
from tests_helpers import GOLDEN, compose_config

from evaluation.evaluate import run as evaluate
from evaluation.report.build import ReportSettings, write_report
from rotationbench import benchmark
from rotationbench.datasets import write_sample
from rotationbench.errors import ConfigError, DatasetError, LabelError
from rotationbench.foreign.task import run
from rotationbench.results import ResultStore

NAMES = ("blob000", "blob001", "blob002")
MODEL = ["model=local", f"model.pretrained={GOLDEN / 'tinyA'}", "model.num_inference_steps=4"]
METRICS = "metrics=[psnr,ssim,background_psnr,rotation_error,dai_1,psnr_target,mean_distance,mm_distance]"


@pytest.fixture
def dataset(tmp_path) -> Path:
    for index in range(len(NAMES)):
        sample = make_sample(index, 64)
        write_sample(tmp_path / "data" / sample.name, sample)
    return tmp_path / "data"


@pytest.fixture
def edits(tmp_path) -> Path:
    """A picture for each sample: noise, so that each differs from its source."""
    (tmp_path / "edits").mkdir()
    for index, name in enumerate(NAMES):
        noise = np.random.default_rng(index).integers(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / "edits" / f"{name}.png")
    return tmp_path / "edits"


def arguments(dataset: Path, results: Path, *more: str) -> list[str]:
    base = ["data=folder", f"data.root={dataset}", f"results_dir={results}", "cache_dir=null", "device=cpu"]
    return [*base, *more]


def imported(dataset: Path, results: Path, edits: Path, *more: str) -> int:
    given = ["task=import", f"edits={edits}", "label=theirs", "metrics=[psnr]", *more]
    return run(compose_config(*arguments(dataset, results, *given)))


def content(results: Path) -> dict[str, bytes]:
    files = (path for path in results.rglob("*") if path.is_file() and ".locks" not in path.parts)
    return {str(path.relative_to(results)): path.read_bytes() for path in files}


def test_foreign_edits_become_edits_like_any_others(dataset, edits, tmp_path):
    results = tmp_path / "results"
    (edits / "seconds.csv").write_text("sample,seconds\nblob000,12.5\n")
    assert imported(dataset, results, edits, "note=seen in a paper") == 0
    edit = ResultStore(results).read("theirs", "blob000")
    assert edit.done and edit.record["method"] == "foreign" and edit.record["note"] == "seen in a paper"
    assert (edit.record["seconds"], edit.record["unet_calls"], edit.record["steps"]) == (12.5, None, None)
    assert (edit.record["warnings"], edit.record["unchanged"]) == ([], False)
    assert ResultStore(results).read("theirs", "blob001").record["seconds"] is None
    with Image.open(edit.folder / "edited.png") as filed, Image.open(edits / "blob000.png") as given:
        assert np.array_equal(filed, given)
    table = pd.read_csv(results / "edits.csv")
    assert table["label"].tolist() == ["theirs"] * 3 and set(table["method"]) == {"foreign"}
    assert table["psnr"].notna().all() and table["seconds"].isna().tolist() == [False, True, True]
    assert (results / "contact_sheet.jpg").exists()
    # A report with other edits beside it, and measuring again.
    assert benchmark.run(compose_config(*arguments(dataset, results, "method=nothing", "metrics=[psnr]"))) == 0
    page = write_report([results], ReportSettings()).read_text()
    assert '"name":"theirs"' in page
    comparisons = pd.read_csv(results / "report" / "comparisons.csv")
    assert set(comparisons["first"]) | set(comparisons["second"]) == {"theirs", "nothing"}
    assert evaluate(compose_config("task=evaluate", f"results_dir={results}", "device=cpu", "metrics=[ssim]")) == 0


def test_the_edits_of_another_label_get_the_same_metrics_to_the_last_digit(dataset, tmp_path):
    results = tmp_path / "results"
    base = arguments(dataset, results, *MODEL, METRICS, "+evaluator.dift={ensemble: 1}")
    assert benchmark.run(compose_config(*base, "method=turn")) == 0
    assert run(compose_config(*base, "task=import", f"edits={results / 'turn'}", "label=again")) == 0
    archive = tmp_path / "turn.zip"
    with zipfile.ZipFile(archive, "w") as stream:
        for name in NAMES:
            stream.write(results / "turn" / name / "edited.png", f"turn/{name}.png")
    assert run(compose_config(*base, "task=import", f"edits={archive}", "label=packed")) == 0
    for name in NAMES:
        for label in ("again", "packed"):
            folders = results / "turn" / name, results / label / name
            # The values as text: not one digit differs, nor how they were measured, nor the picture's hash.
            first, second = (json.loads((folder / "metrics.json").read_text()) for folder in folders)
            assert first == second and len(first["metrics"]) == 8
            assert len({(folder / "edited.png").read_bytes() for folder in folders}) == 1


def test_importing_again_changes_nothing(dataset, edits, tmp_path, caplog):
    results = tmp_path / "results"
    (edits / "blob002.png").unlink()
    assert imported(dataset, results, edits) == 1
    before = content(results)
    assert imported(dataset, results, edits) == 1
    assert content(results) == before
    # What may be corrected is, without the picture being filed anew.
    (edits / "seconds.csv").write_text("blob000,3\n")
    assert imported(dataset, results, edits, "note=by mail") == 1
    record = ResultStore(results).read("theirs", "blob000").record
    assert (record["note"], record["seconds"]) == ("by mail", 3.0)
    assert record["finished"] == json.loads(before["theirs/blob000/record.json"])["finished"]


def test_missing_samples_are_named_once_and_count_as_not_made(dataset, edits, tmp_path, caplog):
    results = tmp_path / "results"
    for name in ("blob000", "blob002"):
        (edits / f"{name}.png").unlink()
    caplog.set_level(logging.WARNING)
    assert imported(dataset, results, edits) == 1
    (line,) = [record.getMessage() for record in caplog.records if "blob000" in record.getMessage()]
    assert line == f"{edits}: no edit of blob000, blob002; 2 of 3 count as not made."
    table = pd.read_csv(results / "edits.csv")
    assert table["status"].tolist() == ["failed", "done", "failed"]
    assert table["angle"].notna().all()
    # They are not asked for.
    assert imported(dataset, results, edits, "samples=blob001") == 0
    # A second parcel with the rest; what came in the first stays.
    shutil.rmtree(edits)
    edits.mkdir()
    for name in ("blob000", "blob002"):
        Image.new("RGB", (64, 64)).save(edits / f"{name}.png")
    assert imported(dataset, results, edits) == 0
    assert set(pd.read_csv(results / "edits.csv")["status"]) == {"done"}


def test_another_size_is_a_warning_that_the_record_keeps(dataset, edits, tmp_path, caplog):
    results = tmp_path / "results"
    Image.new("RGB", (128, 96), (200, 0, 0)).save(edits / "blob001.png")
    assert imported(dataset, results, edits) == 0
    edit = ResultStore(results).read("theirs", "blob001")
    assert edit.record["warnings"] == ["resized from 128 × 96 (width × height) to 64 × 64 (width × height)"]
    assert f"{edits / 'blob001.png'}: resized from 128 × 96" in caplog.text
    with Image.open(edit.folder / "edited.png") as filed:
        assert filed.size == (64, 64) and filed.getpixel((10, 10)) == (200, 0, 0)


def test_an_edit_that_equals_its_source_says_so(dataset, edits, tmp_path):
    shutil.copy(dataset / "blob000" / "image.png", edits / "blob000.png")
    assert imported(dataset, tmp_path / "results", edits) == 0
    assert pd.read_csv(tmp_path / "results" / "edits.csv")["unchanged"].tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("name", "bytes_"), [("bird.png", b"-"), ("blob000.jpg", b"-"), ("blob001.png", b"no picture")]
)
def test_nothing_is_written_when_anything_is_wrong(dataset, edits, tmp_path, name, bytes_):
    (edits / name).write_bytes(bytes_)
    with pytest.raises(DatasetError, match=f"{name.removesuffix('.jpg')}"):
        imported(dataset, tmp_path / "results", edits)
    assert not (tmp_path / "results").exists()


def test_other_edits_are_written_over_only_when_told_to(dataset, edits, tmp_path):
    results = tmp_path / "results"
    base = arguments(dataset, results, "metrics=none")
    assert benchmark.run(compose_config(*base, "method=nothing", "label=theirs", "samples=blob000")) == 0
    before = content(results)
    for more in ([], ["samples=blob001"], ["seed=1"]):
        with pytest.raises(LabelError, match="under 'theirs', got theirs/blob000 made by nothing;"):
            imported(dataset, results, edits, *more)
        assert content(results) == before
    assert imported(dataset, results, edits, "overwrite=true") == 0
    Image.new("RGB", (64, 64)).save(edits / "blob001.png")
    with pytest.raises(LabelError, match="got another picture as theirs/blob001;"):
        imported(dataset, results, edits)
    assert imported(dataset, results, edits, "overwrite=true") == 0
    with pytest.raises(LabelError, match="label: expected edits of one setting under 'theirs'"):
        benchmark.run(compose_config(*base, "method=nothing", "label=theirs"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("label=null", "label: expected a name under which"),
        ("label=samples", "label: expected a name that is not taken"),
        ("label=../x", "label: expected a name without slashes"),
        ("edits=/nowhere", "edits: /nowhere: expected a folder or a zip archive"),
        ("edits=???", "edits: expected a value"),
        ("method=turn", "method: expected none"),
        ("samples=unicorn", "samples: expected names"),
        ("note='a\0b'", "note: expected text without NUL"),
    ],
)
def test_settings_that_make_no_sense(dataset, edits, tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        imported(dataset, tmp_path / "results", edits, change)
    assert not (tmp_path / "results").exists()


def test_edits_are_not_imported_onto_themselves(dataset, edits, tmp_path):
    results = tmp_path / "results"
    assert imported(dataset, results, edits) == 0
    with pytest.raises(ConfigError, match="edits: expected another folder than the one they are filed in"):
        imported(dataset, results, results / "theirs")


def test_a_seed_stands_behind_the_label(dataset, edits, tmp_path):
    results = tmp_path / "results"
    assert imported(dataset, results, edits, "seed=3", "metrics=none") == 0
    table = pd.read_parquet(results / "edits.parquet")
    assert set(table["label"]) == {"theirs-seed3"} and set(table["variant"]) == {"theirs"}
