"""Drag100, the benchmark of GoodDrag."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from rotationbench.datasets.formats.base import Entry
from rotationbench.datasets.formats.one_config import OneConfig
from rotationbench.datasets.reading import MISSING, Pairs, Problems, points_of, split_pairs


class GoodDrag(OneConfig):
    """`original.png` or `.jpg`, `mask.png` (above 0: may change) and `points.json` with alternating `points`.

    The format has no prompts. Categories are the folders' names without their number.
    Source: Zhang et al., GoodDrag, arXiv 2404.07206, section 4.
    """

    name = "gooddrag"
    config = "points.json"
    signature = f"folders with {config} and original.png or original.jpg"
    picture = "original"
    mask_above = 0

    def drags(self, config: dict[str, Any], path: Path, problems: Problems) -> tuple[Pairs | None, str]:
        """See `OneConfig.drags`; the prompt is empty."""
        points = points_of(config.get("points", MISSING), "points", path, problems)
        return split_pairs(points, "points", path, problems), ""

    def category(self, entry: Entry) -> str:
        """The folder's name without its number."""
        return re.sub(r"_\d+$", "", entry.name)
