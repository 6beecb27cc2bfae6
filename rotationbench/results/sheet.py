"""The contact sheet: sources, edits and exact results side by side, a bounded number of rows at a time."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from rotationbench.drawing import contact_sheet, draw_sample
from rotationbench.errors import DatasetError
from rotationbench.files import whole_file
from rotationbench.pictures import PictureError, read_rgb
from rotationbench.results.edit import Edit
from rotationbench.results.store import EDITED_FILE, ResultStore
from rotationbench.sample import resize_image

SHEET = "contact_sheet"
ENDING = ".jpg"
TILE = 256
"""Long side of a picture on the sheet, in pixels."""
LONGEST_SIDE = 65500
"""A JPEG holds no more pixels in a row or column."""
LARGEST_FILE = 20_000_000
RANKED_BY = ("mean_distance", "final_distance")
GREY = 128

Edits = Mapping[tuple[str, str], Edit | None]
"""By sample and label."""


def draw_sheet(store: ResultStore, table: pd.DataFrame, *, rows: int, pages: bool) -> list[Path]:
    """Draw `contact_sheet.jpg`: a row per sample with its source, mask and points, the edit of every label, and the
    exact result where one is known. A sheet that shows just that already is left as it is.

    Args:
        store: the results folder.
        table: its table of edits.
        rows: how many samples a sheet shows; of more, the worst third, the best third and a seeded choice.
        pages: draw all samples, `rows` to a sheet, as `contact_sheet.jpg`, `contact_sheet-2.jpg`, …

    Returns:
        The files that were drawn.
    """
    done = table[table["status"] == "done"] if len(table) else table
    if not len(done):
        return []
    present = sorted(done["sample"].unique())
    shown = [present[first : first + rows] for first in range(0, len(present), rows)]
    if not pages:
        shown = [chosen_rows(done, present, rows)]
    labels = sorted(done["label"].unique())
    drawn = []
    for number, chunk in enumerate(shown, start=1):
        path = store.root / f"{SHEET}{'' if number == 1 else f'-{number}'}{ENDING}"
        edits = {(name, label): store.glance(label, name) for name in chunk for label in labels}
        digest = _digest(edits)
        if _digest_on(path) != digest:
            write_sheet(path, _sheet(store, chunk, labels, edits), digest)
            drawn.append(path)
    return drawn


def chosen_rows(done: pd.DataFrame, names: Sequence[str], rows: int) -> list[str]:
    """At most `rows` of `names`, in their order: the worst third, the best third and a seeded choice of the others.

    Args:
        done: a row per finished edit.
        names: samples with at least one.
        rows: how many.
    """
    if len(names) <= rows:
        return list(names)
    column = next((name for name in RANKED_BY if name in done and done[name].notna().any()), None)
    if column is None:
        ranked: list[str] = []
    else:
        ranked = list(done.groupby("sample")[column].mean().dropna().sort_values(kind="stable").index)
    third = min(rows // 3, len(ranked) // 2)
    chosen = set(ranked[:third]) | set(ranked[len(ranked) - third :])
    others = [name for name in names if name not in chosen]
    chosen |= set(np.random.default_rng(0).choice(others, rows - len(chosen), replace=False).tolist())
    return [name for name in names if name in chosen]


def _sheet(store: ResultStore, names: Sequence[str], labels: Sequence[str], edits: Edits) -> np.ndarray:
    rows, row_labels, exact = [], [], False
    for name in names:
        try:
            sample = store.sample(name)
        except DatasetError:
            continue
        pictures = [draw_sample(sample)]
        for label in labels:
            edit = edits[name, label]
            missing = edit is None or not edit.done
            pictures.append(np.full_like(sample.image, GREY) if missing else _picture(store, label, name, sample.image))
        if sample.target is not None:
            exact = True
            pictures.append(sample.target)
        rows.append([_tile(picture) for picture in pictures])
        row_labels.append(name)
    columns = ["source", *labels, *(["exact result"] if exact else [])]
    return contact_sheet(rows, row_labels=row_labels, column_labels=columns)


def _picture(store: ResultStore, label: str, name: str, source: np.ndarray) -> np.ndarray:
    try:
        return read_rgb(store.folder(label, name) / EDITED_FILE)
    except PictureError:
        return np.full_like(source, GREY)


def _tile(picture: np.ndarray) -> np.ndarray:
    """The picture with its long side at the sheet's size."""
    height, width = picture.shape[:2]
    scale = TILE / max(height, width)
    return resize_image(picture, (max(1, round(height * scale)), max(1, round(width * scale))))


def _digest(edits: Edits) -> str:
    """SHA-256 of what a sheet shows: the pictures of its edits, in order, and the facts about their samples."""
    shown = [
        [name, label, None if edit is None or not edit.done else [edit.record["files"], edit.record["sample"].get("full_digest")]]
        for (name, label), edit in edits.items()
    ]
    return hashlib.sha256(json.dumps(shown).encode()).hexdigest()


def _digest_on(path: Path) -> str | None:
    """What `write_sheet` was told that the sheet at `path` shows; None when there is no such sheet."""
    try:
        with Image.open(path, formats=("JPEG",)) as sheet:
            return sheet.info.get("comment", b"").decode(errors="replace")
    except (OSError, SyntaxError, ValueError):
        return None


def write_sheet(path: Path, sheet: np.ndarray, digest: str) -> None:
    """Write a sheet as a JPEG of at most 20 MB, smaller where it would be larger or longer than the format holds.

    Args:
        path: where to.
        sheet: uint8 `(H, W, 3)`.
        digest: stands for what the sheet shows; kept as the picture's comment.
    """
    scale = min(1.0, LONGEST_SIDE / max(sheet.shape[:2]))
    while True:
        height, width = (max(1, math.floor(extent * scale)) for extent in sheet.shape[:2])
        with whole_file(path) as temporary:
            Image.fromarray(resize_image(sheet, (height, width))).save(temporary, comment=digest)
        if path.stat().st_size <= LARGEST_FILE:
            return
        scale *= 0.7
