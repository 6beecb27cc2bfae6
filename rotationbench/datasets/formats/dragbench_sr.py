"""DragBench-SR, the benchmark of SDE-Drag."""

from __future__ import annotations

from rotationbench.datasets.folders import Folder, read_main_picture, the_file
from rotationbench.datasets.formats.base import Entry, Format, optional_mask
from rotationbench.datasets.formats.vfd_bench import VFDBench
from rotationbench.datasets.reading import MISSING, Problems, check_pairs, joined_pairs, points_of, read_json, text_of
from rotationbench.sample import DragSample, SampleMeta

CONFIG = "prompt.json"


class DragBenchSR(Format):
    """`origin_image.png`, `mask.png` and `prompt.json` with `prompt`, `source` and `target` (lists of points).

    Source: Nie et al., The Blessing of Randomness, arXiv 2311.01410, section 5.
    """

    name = "dragbench_sr"
    signature = f"folders with {CONFIG} and origin_image.png"
    picture = "origin_image"

    def marks(self, folder: Folder) -> bool:
        """A `prompt.json` that is not VFD-Bench's."""
        return folder.holds(CONFIG) and not VFDBench().marks(folder)

    def accepts(self, folder: Folder) -> bool:
        """Any `prompt.json`."""
        return folder.holds(CONFIG)

    def read(self, entry: Entry, problems: Problems) -> DragSample | None:
        """The sample; without a `mask.png` its mask is None."""
        before = len(problems)
        image = read_main_picture(entry.path, self.picture, problems)
        size = None if image is None else image.shape[:2]
        path = the_file(entry.path, CONFIG, problems)
        config = read_json(path, problems)
        pairs, prompt = None, ""
        if config is not None:
            sources = points_of(config.get("source", MISSING), "source", path, problems)
            targets = points_of(config.get("target", MISSING), "target", path, problems)
            pairs = joined_pairs(sources, targets, path, problems)
            check_pairs(pairs, size, path, problems)
            prompt = text_of(config.get("prompt", MISSING), "prompt", path, problems)
        mask = optional_mask(entry.path, "mask", size, problems)
        if len(problems) > before or image is None or pairs is None:
            return None
        return DragSample(entry.name, image, prompt, *pairs, mask=mask, meta=SampleMeta(category=entry.category))
