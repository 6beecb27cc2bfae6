from __future__ import annotations

import numpy as np

from evaluation.study.figures import share_figure
from evaluation.study.intervals import Interval


def test_figures_have_a_bar_per_label_and_a_diamond_per_published_share():
    shares = Interval(np.array([0.6, 0.4]), np.array([0.5, np.nan]), np.array([0.7, np.nan]))
    (axes,) = share_figure(["a", "b"], shares, "best", {"b": 0.3}).axes
    assert [bar.get_height() for bar in axes.patches] == [60, 40]
    (diamonds,) = [line for line in axes.lines if line.get_marker() == "D"]
    assert list(diamonds.get_ydata()) == [30]
