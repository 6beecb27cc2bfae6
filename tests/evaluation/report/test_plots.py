"""Plots: what they draw, and that a method looks the same in all of them."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex
from synthetic_results import make_sample, write_edit, write_results

from evaluation.report.collect import ReportedVariant, read_folders
from evaluation.report.columns import BY_NAME
from evaluation.report.plots import (
    all_plots,
    cost_stack,
    cumulative_errors,
    distance_left_curves,
    fidelity_against_accuracy,
    metric_by_angle,
    plot_style,
    save_plot,
)
from evaluation.report.styles import method_styles

ERROR = BY_NAME["rotation_error"]
STYLES = method_styles([ReportedVariant(name) for name in ("truth", "idle", "backwards")])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = write_results(tmp_path_factory.mktemp("plots"), samples=4, side=64)
    write_edit(root, make_sample(3, 64), "backwards", None)
    (folder,) = read_folders([root])
    angles = folder.table["angle"].abs()
    folder.table["rotation_error"] = folder.table["variant"].map({"truth": 0.0, "idle": 1.0, "backwards": 2.0}) * angles
    folder.table.loc[folder.table["status"] == "failed", "rotation_error"] = np.nan
    folder.table["st_lpips"] = 0.2
    return folder


@pytest.fixture(scope="module")
def edits(folder):
    return list(zip(folder.table["variant"], folder.edits, strict=True))


def test_means_by_angle_are_those_of_the_bins(folder):
    (axes,) = metric_by_angle(folder.table, ERROR, STYLES).axes
    line = next(container for container in axes.containers if container.get_label() == "idle").lines[0]
    # 20, 40, 70 and 100 degrees: one sample in each of four bins.
    assert line.get_ydata().tolist() == [20, 40, 70, 100]
    assert axes.get_ylabel() == "rotation error [°] ↓"


def test_failed_edits_keep_the_cumulative_curve_below_one(folder):
    (axes,) = cumulative_errors(folder.table, ERROR, STYLES).axes
    curves = {line.get_label(): line.get_ydata() for line in axes.get_lines()}
    assert curves["truth"][-1] == 1
    assert curves["backwards"][-1] == 0.75


def test_time_is_the_area_of_the_marker(folder):
    (axes,) = fidelity_against_accuracy(folder.table, STYLES).axes
    sizes = {
        item.get_label().split()[0]: item.get_sizes()[0] for item in axes.collections if item.get_label()[0] != "_"
    }
    assert sizes["truth"] < sizes["idle"] < sizes["backwards"]


def test_the_way_left_falls_from_one_to_none(edits):
    (axes,) = distance_left_curves(edits, STYLES).axes
    for line in axes.get_lines():
        assert (line.get_ydata()[0], line.get_ydata()[-1]) == (1, 0)


def test_phases_are_stacked_to_the_whole_time(edits):
    (axes,) = cost_stack(edits, STYLES).axes
    ends = np.max([[bar.get_x() + bar.get_width() for bar in container] for container in axes.containers], axis=0)
    # On average 1.15 s, 2.15 s, and 3.1 s over the three that did not fail.
    np.testing.assert_allclose(ends, [1.15, 2.15, 3.1])


def test_a_method_has_one_colour_everywhere(folder, edits):
    for _, _, figure in all_plots(folder.table, edits, STYLES):
        for axes in figure.axes:
            for line in axes.get_lines():
                name = line.get_label().split()[0]
                if name in STYLES:
                    assert to_hex(line.get_color()) == STYLES[name].colour.lower()


def test_nothing_to_draw_is_no_plot(folder):
    empty = folder.table.drop(columns="rotation_error").assign(angle=np.nan)
    assert metric_by_angle(empty, ERROR, STYLES) is None
    assert cumulative_errors(empty, ERROR, STYLES) is None
    assert fidelity_against_accuracy(empty, STYLES) is None
    assert distance_left_curves([], STYLES) is None
    assert cost_stack([], STYLES) is None


def test_the_same_plot_is_the_same_file(folder, tmp_path):
    for name in ("one", "two"):
        with plot_style():
            figure = cumulative_errors(folder.table, ERROR, STYLES)
        save_plot(figure, tmp_path, name)
    for ending in ("svg", "pdf", "png"):
        assert (tmp_path / f"one.{ending}").read_bytes() == (tmp_path / f"two.{ending}").read_bytes()
