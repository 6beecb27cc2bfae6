from __future__ import annotations

import json
import math
import threading
from pathlib import Path

import pytest

from rotationbench.results import MetricsFile


HOW = {"revision": 1, "tools": "a ruler"}


def folder(tmp_path: Path) -> Path:
    place = tmp_path / "label" / "sample"
    place.mkdir(parents=True)
    return place


def test_values_are_kept_for_the_same_picture_and_sample_only(tmp_path):
    place = folder(tmp_path)
    MetricsFile.about(place, "picture", "sample").add({"psnr": math.inf, "ssim": None}, dict.fromkeys(("psnr", "ssim"), HOW))
    assert MetricsFile.read(place).values == {"psnr": math.inf, "ssim": None}
    assert json.loads((place / "metrics.json").read_text())["metrics"]["psnr"]["value"] == "inf"
    assert MetricsFile.about(place, "picture", "sample").measured_by == dict.fromkeys(("psnr", "ssim"), HOW)
    for edited, sample in (("another", "sample"), ("picture", "another")):
        assert MetricsFile.about(place, edited, sample).values == {}


def test_kind_6_two_that_measure_at_once_lose_nothing(tmp_path):
    place = folder(tmp_path)

    def add(index: int) -> None:
        file = MetricsFile.about(place, "picture", "sample")
        file.add({f"metric {index}": float(index)}, {f"metric {index}": HOW})

    threads = [threading.Thread(target=add, args=(index,)) for index in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert MetricsFile.read(place).values == {f"metric {index}": float(index) for index in range(12)}


def test_what_was_not_opened_about_a_picture_cannot_be_written(tmp_path):
    with pytest.raises(ValueError, match="known picture"):
        MetricsFile.read(folder(tmp_path)).add({"psnr": 1.0}, {"psnr": "v1"})


def test_the_text_of_older_files_is_read_as_fields(tmp_path):
    place = folder(tmp_path)
    texts = {"dai_1": "v1", "psnr": "v1 scikit-image 0.25.0", "mean_distance": "v2 dift up_block=1 seed=7", "x": "?"}
    entries = {name: {"value": 1.0, "measured_by": text} for name, text in texts.items()}
    content = {"schema": 1, "edited": "picture", "sample": "sample", "metrics": entries}
    (place / "metrics.json").write_text(json.dumps(content))
    assert MetricsFile.read(place).measured_by == {
        "dai_1": {"revision": 1, "tools": ""},
        "psnr": {"revision": 1, "tools": "scikit-image 0.25.0"},
        "mean_distance": {"revision": 2, "tools": "dift up_block=1", "seed": 7},
        "x": {"revision": None, "tools": "?"},
    }


def test_values_of_older_files_outlive_the_measuring_of_others(tmp_path):
    place = folder(tmp_path)
    entries = {name: {"value": 1.0, "measured_by": "v1 a ruler"} for name in ("psnr", "ssim")}
    content = {"schema": 1, "edited": "picture", "sample": "by another digest", "metrics": entries}
    (place / "metrics.json").write_text(json.dumps(content))
    file = MetricsFile.about(place, "picture", "sample")
    # Whether the sample is the same is not known, so that they count as measured in another way than any of today.
    assert file.measured_by["psnr"] == {"revision": None, "tools": "a ruler"}
    file.add({"psnr": 2.0}, {"psnr": HOW})
    assert MetricsFile.read(place).values == {"psnr": 2.0, "ssim": 1.0}
    assert MetricsFile.about(place, "picture", "sample").measured_by["psnr"] == HOW
    assert MetricsFile.about(place, "another picture", "sample").values == {}


@pytest.mark.parametrize("value", ["1e300", "-1e13", '"-inf"', '"nan"', "NaN", '"far"', "[1]", "1e999"])
def test_values_that_no_metric_has_count_as_not_measured(tmp_path, caplog, value):
    place = folder(tmp_path)
    (place / "metrics.json").write_text('{"metrics": {"psnr": {"value": %s}}}' % value)
    assert MetricsFile.read(place).values == {}
    assert "metrics.json: expected measured values, got: " in caplog.text
