"""`metrics.json` beside an edit: its one reader and its one writer."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rotationbench.files import read_json, write_json
from rotationbench.results.locks import edit_lock
from rotationbench.results.storage import storage_errors

SCHEMA = 1
LARGEST_VALUE = 1e12
"""Beyond what any metric gives, infinity apart; means of larger numbers overflow."""
METRICS_FILE = "metrics.json"
MEASURED_BY_TEXT = re.compile(r"v(?P<revision>\d+)(?: (?P<tools>.*?))?(?: seed=(?P<seed>\d+))?")

log = logging.getLogger(__name__)


@dataclass
class MetricsFile:
    """What was measured of one edit, and for each value what tells whether it still counts.

    Args:
        folder: the edit's folder.
        edited: SHA-256 of `edited.png` when it was measured; None when nothing was.
        sample: digest of everything about the sample that a metric can depend on.
        values: by metric; JSON has no infinity, so on disk it is the text `"inf"`.
        measured_by: by metric, how it was measured: `revision` of the metric, `tools` as text, and `seed` where noise was
            drawn.
        older: whether it was written before `sample` was `DragSample.full_digest`, so that the two cannot be compared.
    """

    folder: Path
    edited: str | None = None
    sample: str | None = None
    values: dict[str, float | None] = field(default_factory=dict)
    measured_by: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    older: bool = False

    @classmethod
    def read(cls, folder: Path) -> MetricsFile:
        """The file in `folder` as it is; without values when there is none. One that cannot be used is a warning."""
        path = folder / METRICS_FILE
        try:
            content = read_json(path)
            entries = content["metrics"]
            return cls(
                folder,
                content.get("edited"),
                content.get("sample"),
                {name: _value(entry["value"]) for name, entry in entries.items()},
                {name: measured_by_fields(entry.get("measured_by")) for name, entry in entries.items()},
                any(isinstance(entry.get("measured_by"), str) for entry in entries.values()),
            )
        except FileNotFoundError:
            return cls(folder)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            reason = str(error) or type(error).__name__
            log.warning("%s: expected measured values, got: %s. They count as not measured.", path, reason)
            return cls(folder)

    @classmethod
    def about(cls, folder: Path, edited: str, sample: str) -> MetricsFile:
        """The file in `folder` with what it holds about this very picture and sample; empty when that is nothing.

        An older file keeps its values about this picture, as measured in a way that is not known any more: they are shown
        until they are measured again.

        Args:
            folder: the edit's folder.
            edited: SHA-256 of `edited.png`.
            sample: digest of everything about the sample that a metric can depend on.
        """
        file = cls.read(folder)
        if (file.edited, file.sample) == (edited, sample):
            return file
        if file.edited == edited and file.older:
            unknown: dict[str, Mapping[str, Any]] = {
                name: {**fields, "revision": None} for name, fields in file.measured_by.items()
            }
            return cls(folder, edited, sample, file.values, unknown)
        return cls(folder, edited, sample)

    def add(self, values: Mapping[str, float | None], measured_by: Mapping[str, Mapping[str, Any]]) -> None:
        """Put values into the file on disk, beside those that others have put there about this picture and sample.

        Args:
            values: by metric.
            measured_by: how each of them was measured.

        Raises:
            ResultsError: when the disk is full or cannot be written to.
        """
        if self.edited is None or self.sample is None:
            raise ValueError(f"Expected metrics of a known picture and sample in {self.folder}, got neither.")
        with storage_errors(self.folder.parent.parent), edit_lock(self.folder):
            current = MetricsFile.about(self.folder, self.edited, self.sample)
            self.values = current.values | dict(values)
            self.measured_by = current.measured_by | {name: measured_by[name] for name in values}
            content = {
                "schema": SCHEMA,
                "edited": self.edited,
                "sample": self.sample,
                "metrics": {
                    name: {"value": "inf" if value == math.inf else value, "measured_by": self.measured_by[name]}
                    for name, value in self.values.items()
                },
            }
            write_json(self.folder / METRICS_FILE, content)


def _value(value: Any) -> float | None:
    """A value as it is in memory.

    Raises:
        TypeError: when it is no number.
        ValueError: when no metric has such values.
    """
    if value is None:
        return None
    number = float(value)
    if number != math.inf and not abs(number) <= LARGEST_VALUE:
        raise ValueError(f"a value within ±{LARGEST_VALUE:g} was expected, not {value!s:.20}")
    return number


def measured_by_fields(entry: Any) -> Mapping[str, Any]:
    """The fields of what a file says about how a value was measured; older files hold one text for them.

    >>> measured_by_fields("v1 opencv 5.0.0")
    {'revision': 1, 'tools': 'opencv 5.0.0'}
    >>> measured_by_fields("v2 dift up_block=1 seed=7")
    {'revision': 2, 'tools': 'dift up_block=1', 'seed': 7}
    """
    if isinstance(entry, Mapping):
        return {"revision": None, "tools": "", **entry}
    found = MEASURED_BY_TEXT.fullmatch(str(entry))
    if found is None:
        return {"revision": None, "tools": str(entry)}
    fields = {"revision": int(found["revision"]), "tools": found["tools"] or ""}
    return fields if found["seed"] is None else {**fields, "seed": int(found["seed"])}
