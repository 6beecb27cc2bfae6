"""Which colour, marker and line a method has: the same in every plot and in the report.

The colours are those of Okabe and Ito ("Color Universal Design", 2008), which people with the common forms of colour
blindness can tell apart; markers and lines repeat the distinction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.report.collect import ReportedVariant

FIXED = {
    "rotationdrag": "#D55E00",
    "dragdiffusion": "#0072B2",
    "freedrag": "#009E73",
    "sdedrag": "#E69F00",
}
"""Colours of the methods that the project ships, by name without underscores and hyphens."""
OTHERS = ("#CC79A7", "#56B4E9", "#000000", "#999999", "#882255", "#117733", "#332288", "#AA4499")
"""Colours of all other methods, in the order of their first edits."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", "--", "-.", ":")


@dataclass(frozen=True)
class Style:
    """How a method is drawn."""

    colour: str
    marker: str
    line: str


def method_styles(variants: Sequence[ReportedVariant]) -> dict[str, Style]:
    """A style for each variant, by its name.

    The project's own methods always have their own colours. Others take what is left in the order in which they come,
    so that a new method changes the style of none before it.

    Args:
        variants: in the order of their first edits. The same variant in several folders has one colour, with another
            line for each folder.
    """
    bases = list(dict.fromkeys(_base(item.variant) for item in variants))
    unknown = [base for base in bases if base not in FIXED]
    colours = FIXED | {base: OTHERS[index % len(OTHERS)] for index, base in enumerate(unknown)}
    markers = {base: MARKERS[index % len(MARKERS)] for index, base in enumerate([*FIXED, *unknown])}
    folders = list(dict.fromkeys(item.folder for item in variants))
    return {
        item.name: Style(
            colours[_base(item.variant)],
            markers[_base(item.variant)],
            LINES[folders.index(item.folder) % len(LINES)],
        )
        for item in variants
    }


def _base(variant: str) -> str:
    return variant.replace("_", "").replace("-", "")
