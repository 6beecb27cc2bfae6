"""DragBench-SR, the benchmark of SDE-Drag."""

from __future__ import annotations

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
    text_of,
)
from rotationbench.sample import DragSample, SampleMeta

CONFIG = "prompt.json"


class DragBenchSR:
    """`origin_image.png`, `mask.png` and `prompt.json` with `prompt`, `source` and `target` (lists of points).

    Source: Nie et al., The Blessing of Randomness, arXiv 2311.01410, section 5.
    """

    name = "dragbench_sr"
    signature = f"folders with {CONFIG} and origin_image.png"

    def find(self, root: Path, problems: Problems) -> list[Entry]:
        """Folders with a `prompt.json`."""
        return folders_with(root, (CONFIG,))

    def split_of(self, entry: Entry, problems: Problems) -> str | None:
        """None: the format has no splits."""
        return None

    def read(self, entry: Entry, problems: Problems) -> DragSample | None:
        """The sample; without a `mask.png` its mask is None."""
        before = len(problems)
        image = read_picture(first_picture(entry.path, "origin_image"), problems)
        size = None if image is None else image.shape[:2]
        path = entry.path / CONFIG
        config = read_json(path, problems)
        pairs, prompt, mask = None, "", None
        if config is not None:
            sources = points_of(config.get("source", MISSING), "source", path, problems)
            targets = points_of(config.get("target", MISSING), "target", path, problems)
            if sources is not None and targets is not None:
                if len(sources) == len(targets):
                    pairs = (sources, targets)
                else:
                    problems.expected(path, f"as many targets as sources, {len(sources)}", f"{len(targets)}")
            check_pairs(pairs, size, path, problems)
            prompt = text_of(config.get("prompt", MISSING), "prompt", path, problems)
        if (entry.path / "mask.png").is_file():
            mask = read_mask(entry.path / "mask.png", problems)
            check_size(entry.path / "mask.png", mask, size, problems)
        if len(problems) > before or image is None or pairs is None:
            return None
        return DragSample(entry.name, image, prompt, *pairs, mask=mask, meta=SampleMeta(category=entry.category))
