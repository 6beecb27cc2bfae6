"""DragBench-SR, the benchmark of SDE-Drag."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rotationbench.datasets.formats.one_config import OneConfig
from rotationbench.datasets.reading import MISSING, Pairs, Problems, joined_pairs, points_of, text_of


class DragBenchSR(OneConfig):
    """`origin_image.png`, `mask.png` and `prompt.json` with `prompt`, `source` and `target` (lists of points).

    Source: Nie et al., The Blessing of Randomness, arXiv 2311.01410, section 5.
    """

    name = "dragbench_sr"
    config = "prompt.json"
    signature = f"folders with {config} and origin_image.png"
    picture = "origin_image"

    def drags(self, config: dict[str, Any], path: Path, problems: Problems) -> tuple[Pairs | None, str]:
        """See `OneConfig.drags`."""
        sources = points_of(config.get("source", MISSING), "source", path, problems)
        targets = points_of(config.get("target", MISSING), "target", path, problems)
        prompt = text_of(config.get("prompt", MISSING), "prompt", path, problems)
        return joined_pairs(sources, targets, path, problems), prompt
