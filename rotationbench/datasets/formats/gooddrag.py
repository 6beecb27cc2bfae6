"""Drag100, the benchmark of GoodDrag."""

from __future__ import annotations

import re

from rotationbench.datasets.folders import Folder, read_main_picture, the_file
from rotationbench.datasets.formats.base import Entry, Format, optional_mask
from rotationbench.datasets.formats.vfd_bench import VFDBench
from rotationbench.datasets.reading import MISSING, Problems, check_pairs, points_of, read_json, split_pairs
from rotationbench.sample import DragSample, SampleMeta

CONFIG = "points.json"


class GoodDrag(Format):
    """`original.png` or `.jpg`, `mask.png` (above 0: may change) and `points.json` with alternating `points`.

    The format has no prompts. Categories are the folders' names without their number.
    Source: Zhang et al., GoodDrag, arXiv 2404.07206, section 4.
    """

    name = "gooddrag"
    signature = f"folders with {CONFIG} and original.png or original.jpg"
    picture = "original"

    def marks(self, folder: Folder) -> bool:
        """A `points.json` that is not VFD-Bench's."""
        return folder.holds(CONFIG) and not VFDBench().marks(folder)

    def accepts(self, folder: Folder) -> bool:
        """Any `points.json`."""
        return folder.holds(CONFIG)

    def read(self, entry: Entry, problems: Problems) -> DragSample | None:
        """The sample; without a `mask.png` its mask is None."""
        before = len(problems)
        image = read_main_picture(entry.path, self.picture, problems)
        size = None if image is None else image.shape[:2]
        path = the_file(entry.path, CONFIG, problems)
        config = read_json(path, problems)
        pairs = None
        if config is not None:
            points = points_of(config.get("points", MISSING), "points", path, problems)
            pairs = split_pairs(points, "points", path, problems)
            check_pairs(pairs, size, path, problems)
        mask = optional_mask(entry.path, "mask", size, problems, above=0)
        if len(problems) > before or image is None or pairs is None:
            return None
        category = re.sub(r"_\d+$", "", entry.name)
        return DragSample(entry.name, image, "", *pairs, mask=mask, meta=SampleMeta(category=category))
