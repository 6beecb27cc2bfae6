from __future__ import annotations

import numpy as np

from evaluation.report.collect import ReportedVariant
from evaluation.report.styles import FIXED, OTHERS, method_styles


def test_styles_of_known_methods_are_fixed_and_new_ones_change_none_before_them():
    few = method_styles([ReportedVariant(name) for name in ("rotationdrag", "mine")])
    more = method_styles([ReportedVariant(name) for name in ("rotationdrag", "mine", "sde_drag", "yours")])
    assert few["rotationdrag"].colour == more["rotationdrag"].colour == FIXED["rotationdrag"]
    assert few["mine"] == more["mine"]
    assert more["sde_drag"].colour == FIXED["sdedrag"]
    assert more["yours"].colour == OTHERS[1]
    assert len({style.marker for style in more.values()}) == 4


def test_a_method_of_two_folders_has_one_colour_and_two_lines():
    styles = method_styles([ReportedVariant("mine", "here"), ReportedVariant("mine", "there")])
    here, there = styles.values()
    assert (here.colour, here.marker) == (there.colour, there.marker)
    assert here.line != there.line


def test_colours_can_be_told_apart():
    colours = [tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5)) for colour in (*FIXED.values(), *OTHERS[:4])]
    distances = [np.linalg.norm(np.subtract(a, b)) for i, a in enumerate(colours) for b in colours[i + 1 :]]
    assert min(distances) > 60
