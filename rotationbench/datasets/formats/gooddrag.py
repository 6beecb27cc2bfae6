"""Drag100, the benchmark of GoodDrag."""

from __future__ import annotations

import re
from pathlib import Path

from rotationbench.datasets.formats.base import Entry, folders_with
from rotationbench.datasets.reading import (
    MISSING,
    Problems,
    check_pairs,
    check_size,
    first_picture,
    points_of,
    read_json,
    read_mask,
    read_picture,
    split_pairs,
)
from rotationbench.sample import DragSample, SampleMeta

CONFIG = "points.json"


class GoodDrag:
    """`original.png` or `.jpg`, `mask.png` (above 0: may change) and `points.json` with alternating `points`.

    The format has no prompts. Categories are the folders' names without their number.
    Source: Zhang et al., GoodDrag, arXiv 2404.07206, section 4.
    """

    name = "gooddrag"
    signature = f"folders with {CONFIG} and original.png or original.jpg"

    def find(self, root: Path, problems: Problems) -> list[Entry]:
        """Folders with a `points.json`."""
        return folders_with(root, (CONFIG,))

    def split_of(self, entry: Entry, problems: Problems) -> str | None:
        """None: the format has no splits."""
        return None

    def read(self, entry: Entry, problems: Problems) -> DragSample | None:
        """The sample; without a `mask.png` its mask is None."""
        before = len(problems)
        image = read_picture(first_picture(entry.path, "original"), problems)
        size = None if image is None else image.shape[:2]
        path = entry.path / CONFIG
        config = read_json(path, problems)
        pairs, mask = None, None
        if config is not None:
            points = points_of(config.get("points", MISSING), "points", path, problems)
            pairs = split_pairs(points, "points", path, problems)
            check_pairs(pairs, size, path, problems)
        if (entry.path / "mask.png").is_file():
            mask = read_mask(entry.path / "mask.png", problems, threshold=0)
            check_size(entry.path / "mask.png", mask, size, problems)
        if len(problems) > before or image is None or pairs is None:
            return None
        category = re.sub(r"_\d+$", "", entry.name)
        return DragSample(entry.name, image, "", *pairs, mask=mask, meta=SampleMeta(category=category))
