"""What others add to a report: `report.sections` names classes, and the report shows what they find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from matplotlib.figure import Figure

from evaluation.report.collect import ResultsFolder
from evaluation.report.tables import Table
from rotationbench.config import build_object


@dataclass(frozen=True, eq=False)
class Section:
    """A part of a report.

    Args:
        title: its heading.
        tables: its tables.
        figures: file name, caption and figure of each.
    """

    title: str
    tables: list[Table]
    figures: list[tuple[str, str, Figure]]


class SectionMaker(Protocol):
    """Finds sections in results folders."""

    def __call__(self, folders: Sequence[ResultsFolder]) -> list[Section]:
        """The sections, none where the folders hold nothing for them."""
        ...


def added_sections(makers: Sequence[Any], folders: Sequence[ResultsFolder]) -> list[Section]:
    """The sections of all makers.

    Args:
        makers: configurations with `_target_`, each of a `SectionMaker`.
        folders: the results folders.

    Raises:
        ConfigError: when a maker cannot be built.
    """
    return [section for maker in makers for section in build_object(maker, "report.sections")(folders)]
