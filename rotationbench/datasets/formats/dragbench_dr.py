"""DragBench-DR, the benchmark of DragDiffusion: a pickle beside each picture, in folders by category."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from rotationbench.datasets.folders import Folder, file_called, read_main_picture, the_file
from rotationbench.datasets.formats.base import Entry, Format, Size
from rotationbench.datasets.masks import mask_of_array
from rotationbench.datasets.plain_pickle import read_plain_pickle
from rotationbench.datasets.reading import MISSING, Problems, check_pairs, described, points_of, split_pairs, text_of
from rotationbench.sample import DragSample, Regions, SampleMeta

PICKLE = "meta_data.pkl"
REGION_PICKLES = ("meta_data_region.pkl", "meta_data_mask.pkl", "meta_data_i4p.pkl")
FLAT_NAME = re.compile(r"(\D+)_\d+")


class DragBenchDR(Format):
    """`original_image.png` and `meta_data.pkl` with `prompt`, `points` (alternating) and `mask` (above 0: may change).

    The category is the folder that a sample lies in. DragBench-SR in this layout has no such folders; there it is the
    name without its number.
    Source: Shi et al., DragDiffusion, arXiv 2306.14435, section 4.
    """

    name = "dragbench_dr"
    signature = f"folders with {PICKLE} and original_image.png"
    picture = "original_image"

    def marks(self, folder: Folder) -> bool:
        """A `meta_data.pkl` without one of regions beside it."""
        return folder.holds(PICKLE) and not any(folder.holds(name) for name in REGION_PICKLES)

    def accepts(self, folder: Folder) -> bool:
        """Any `meta_data.pkl`."""
        return folder.holds(PICKLE)

    def read(self, entry: Entry, problems: Problems) -> DragSample | None:
        """The sample; nothing in its pickle is run."""
        before = len(problems)
        image = read_main_picture(entry.path, "original_image", problems)
        size = None if image is None else image.shape[:2]
        path = the_file(entry.path, PICKLE, problems)
        content = read_dict(path, problems)
        pairs, prompt, mask = None, "", None
        if content is not None:
            points = points_of(content.get("points", MISSING), "points", path, problems)
            pairs = split_pairs(points, "points", path, problems)
            check_pairs(pairs, size, path, problems)
            prompt = text_of(content.get("prompt", MISSING), "prompt", path, problems)
            mask = mask_of_array(content.get("mask"), size, path, problems)
        regions = self.regions(entry.path, size, problems)
        if len(problems) > before or image is None or pairs is None:
            return None
        meta = SampleMeta(category=self.category(entry))
        return DragSample(entry.name, image, prompt, *pairs, mask=mask, meta=meta, regions=regions)

    def regions(self, folder: Path, size: Size | None, problems: Problems) -> Regions | None:
        """The sample's regions; None, because the format has none."""
        return None

    def category(self, entry: Entry) -> str | None:
        """The sample's category."""
        flat = FLAT_NAME.fullmatch(entry.name)
        in_a_release = not entry.parents or "dragbench" in entry.parents[-1].casefold()
        return flat[1] if flat and in_a_release else entry.category


def read_dict(path: Path, problems: Problems) -> dict[str, Any] | None:
    """The dict in the pickle at `path`, or None after noting in `problems` why there is none."""
    content = read_plain_pickle(path, problems)
    if content is not None and not isinstance(content, dict):
        problems.expected(path, "a dict with prompt, points and mask", described(content))
        return None
    return content


def region_pickle(folder: Path, name: str, problems: Problems) -> tuple[Path, dict[str, Any] | None]:
    """The file `name` of regions in `folder` and what it holds; None after noting why it cannot be read."""
    path = file_called(folder, name, problems) or folder / name
    return path, read_dict(path, problems)
