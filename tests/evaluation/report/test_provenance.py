from __future__ import annotations

import json

from synthetic_results import make_sample, write_edit, write_results

from evaluation.report.build import combined_table, compare_all
from evaluation.report.collect import read_folders
from evaluation.report.provenance import incomparable_metrics, notices


def test_metrics_that_were_measured_in_two_ways_are_not_compared(two_folders):
    for file in (two_folders[1] / "rotationdrag").glob("*/metrics.json"):
        content = json.loads(file.read_text())
        content["metrics"]["psnr"]["measured_by"] = "v0 another library"
        file.write_text(json.dumps(content))
    folders = read_folders(two_folders)
    assert incomparable_metrics(folders) == ["psnr"]
    (notice,) = notices(folders, combined_table(folders))
    assert "psnr was measured in different ways" in notice
    table = combined_table(folders)
    compared = {item.metric for item in compare_all(table, sorted(set(table["variant"])), ["psnr"])}
    assert "psnr" not in compared
    assert "psnr_target" in compared


def test_methods_on_different_samples_are_pointed_out(tmp_path):
    root = write_results(tmp_path, samples=2, methods=("idle",), side=64)
    sample = make_sample(0, 64)
    write_edit(root, sample, "truth", sample.target)
    write_edit(root, make_sample(1, 64), "broken", None)
    folders = read_folders([root])
    found = notices(folders, combined_table(folders))
    assert found[0] == "broken: 1 of 1 edits failed."
    assert "different samples (broken 1, idle 2, truth 1; 0 in common)" in found[1]
