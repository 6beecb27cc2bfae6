"""The data behind the report's gallery: small pictures, trajectories, values and records of every edit."""

from __future__ import annotations

import base64
import io
import json
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from evaluation.report.collect import ResultsFolder
from evaluation.report.columns import COLUMNS
from evaluation.report.styles import Style
from rotationbench.errors import DatasetError
from rotationbench.pictures import open_picture
from rotationbench.results import Edit, ResultStore
from rotationbench.sample import DragSample

log = logging.getLogger(__name__)

TRAJECTORY_POINTS = 24
"""Places of a handle that are drawn at most; longer ways are thinned out."""
WEBP_QUALITY = 75
SHARED = ("config", "versions", "identity")
"""Parts of a record that most edits have in common; each different one is stored once."""
MARKS = {"unchanged": "equals its source", "unmoved": "no handle moved"}
"""What a card says of an edit that its record marks so."""
NOT_SHOWN = ("trajectory", "distance_left", *SHARED)


def gallery_data(
    folders: Sequence[ResultsFolder], table: pd.DataFrame, styles: dict[str, Style], side: int
) -> tuple[dict[str, Any], list[str]]:
    """Everything that the gallery shows, ready for JSON.

    Args:
        folders: the results folders.
        table: one row per edit, in the order of the folders' edits, with `folder` and `variant`.
        styles: by method.
        side: pixels of the pictures' long side at most; smaller pictures keep their size.

    Returns:
        `methods`, `metrics`, `samples`, `shared` and `edits`, in which pictures are indices; and the pictures, as data
        URIs. Coordinates are fractions of the picture's sides; an edit's `values` are in the order of `metrics`.
    """
    pictures: list[str] = []

    def keep(picture: Image.Image) -> int:
        pictures.append(small_picture(picture, side))
        return len(pictures) - 1

    samples: dict[tuple[str, str], int] = {}
    sample_entries: list[dict[str, Any]] = []
    shared: dict[str, int] = {}
    measured = [metric for metric in COLUMNS if metric.name in table and table[metric.name].notna().any()]
    edits = []
    rows = iter(table.to_dict("records"))
    for folder in folders:
        store = ResultStore(folder.root)
        for edit in folder.edits:
            row, name = next(rows), edit.record["sample"]["name"]
            key = (folder.name, name)
            if key not in samples:
                samples[key] = len(sample_entries)
                sample_entries.append(_sample_entry(name, _kept_sample(store, name), keep))
            edits.append(
                {
                    "method": list(styles).index(row["variant"]),
                    "sample": samples[key],
                    "folder": folder.name,
                    "path": str(edit.folder.relative_to(folder.root)),
                    "seed": edit.record.get("seed", 0),
                    "status": row["status"],
                    "error": None if edit.done else _error(edit),
                    "marks": [text for mark, text in MARKS.items() if edit.record.get(mark)],
                    "split": edit.record["sample"].get("split"),
                    "category": edit.record["sample"].get("category"),
                    "angle": edit.record["sample"].get("angle"),
                    "bin": row["angle_bin"] if isinstance(row["angle_bin"], str) else None,
                    "image": _keep_file(edit.folder / "edited.png", keep) if edit.done else None,
                    "trajectory": _trajectory(edit),
                    "axis": _fractions(edit.record.get("axis"), edit.record["sample"]),
                    "values": [_json_number(row[metric.name]) for metric in measured],
                    "record": {key: value for key, value in edit.record.items() if key not in NOT_SHOWN},
                    "shared": {part: _store(shared, edit.record.get(part)) for part in SHARED},
                }
            )
    data = {
        "methods": [{"name": name, "colour": style.colour} for name, style in styles.items()],
        "metrics": [
            {"name": metric.name, "title": metric.title, "better": metric.better, "digits": metric.digits}
            for metric in measured
        ],
        "samples": sample_entries,
        "shared": [json.loads(text) for text in shared],
        "edits": edits,
    }
    return data, pictures


def small_picture(picture: Image.Image, side: int) -> str:
    """A picture as a WebP data URI, its long side at most `side` pixels."""
    picture = picture.convert("RGB")
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=WEBP_QUALITY)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def _kept_sample(store: ResultStore, name: str) -> DragSample | None:
    try:
        return store.sample(name)
    except DatasetError as error:
        log.warning("%s: shown without its sample: %s", name, error)
        return None


def _sample_entry(name: str, sample: DragSample | None, keep: Callable[[Image.Image], int]) -> dict[str, Any]:
    if sample is None:
        return {"name": name, "prompt": "", "size": None, "image": None, "target": None, "sources": [], "targets": []}
    size = {"width": sample.size[1], "height": sample.size[0]}
    return {
        "name": name,
        "prompt": sample.prompt,
        "size": [size["width"], size["height"]],
        "image": keep(Image.fromarray(sample.image)),
        "target": None if sample.target is None else keep(Image.fromarray(sample.target)),
        "sources": _fractions(sample.sources.xy.tolist(), size),
        "targets": _fractions(sample.targets.xy.tolist(), size),
    }


def _error(edit: Edit) -> str:
    """Why there is no picture."""
    failure = edit.record.get("remake") or edit.record.get("error")
    return edit.damage or (f"{failure.get('type')}: {failure['message']}" if failure else "")


def _keep_file(path: Path, keep: Callable[[Image.Image], int]) -> int:
    return keep(open_picture(path))


def _trajectory(edit: Edit) -> list[list[list[float]]]:
    """Per handle its places in order of time."""
    steps = edit.record.get("trajectory")
    if not steps:
        return []
    chosen = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), TRAJECTORY_POINTS)).round().astype(int))
    ways = np.array([steps[index] for index in chosen], dtype=np.float64).transpose(1, 0, 2)
    return [_fractions(way.tolist(), edit.record["sample"]) for way in ways]


def _fractions(points: Sequence[Sequence[float]] | None, size: dict[str, Any]) -> list[list[float]]:
    """Centres of pixels as fractions of the picture's sides."""
    if points is None or size["width"] is None:
        return []
    return [[round((x + 0.5) / size["width"], 3), round((y + 0.5) / size["height"], 3)] for x, y in points]


def _json_number(value: float) -> float | str | None:
    """JSON has neither NaN nor infinity."""
    if math.isnan(value):
        return None
    return "inf" if math.isinf(value) else round(float(value), 5)


def _store(shared: dict[str, int], part: Any) -> int | None:
    if part is None:
        return None
    return shared.setdefault(json.dumps(part, sort_keys=True), len(shared))
