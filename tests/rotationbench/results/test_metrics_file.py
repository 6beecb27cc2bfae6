from __future__ import annotations

import json
import math
import threading
from pathlib import Path

import pytest

from rotationbench.results import MetricsFile


def folder(tmp_path: Path) -> Path:
    place = tmp_path / "label" / "sample"
    place.mkdir(parents=True)
    return place


def test_values_are_kept_for_the_same_picture_and_sample_only(tmp_path):
    place = folder(tmp_path)
    MetricsFile.about(place, "picture", "sample").add({"psnr": math.inf, "ssim": None}, {"psnr": "v1", "ssim": "v1"})
    assert MetricsFile.read(place).values == {"psnr": math.inf, "ssim": None}
    assert json.loads((place / "metrics.json").read_text())["metrics"]["psnr"]["value"] == "inf"
    assert MetricsFile.about(place, "picture", "sample").measured_by == {"psnr": "v1", "ssim": "v1"}
    for edited, sample in (("another", "sample"), ("picture", "another")):
        assert MetricsFile.about(place, edited, sample).values == {}


def test_two_that_measure_at_once_lose_nothing(tmp_path):
    place = folder(tmp_path)

    def add(index: int) -> None:
        file = MetricsFile.about(place, "picture", "sample")
        file.add({f"metric {index}": float(index)}, {f"metric {index}": "v1"})

    threads = [threading.Thread(target=add, args=(index,)) for index in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert MetricsFile.read(place).values == {f"metric {index}": float(index) for index in range(12)}


def test_what_was_not_opened_about_a_picture_cannot_be_written(tmp_path):
    with pytest.raises(ValueError, match="known picture"):
        MetricsFile.read(folder(tmp_path)).add({"psnr": 1.0}, {"psnr": "v1"})
