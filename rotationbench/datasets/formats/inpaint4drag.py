"""DragBench-DR and -SR with Inpaint4Drag's deforming regions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from rotationbench.datasets.folders import Folder
from rotationbench.datasets.formats.base import Size
from rotationbench.datasets.formats.dragbench_dr import PICKLE, DragBenchDR, region_pickle
from rotationbench.datasets.masks import mask_of_array
from rotationbench.datasets.reading import MISSING, Problems, check_inside, points_of, split_pairs
from rotationbench.points import ImagePoints
from rotationbench.sample import Region, Regions

REGIONS = "meta_data_i4p.pkl"
MOST_PIXELS = 2**28
"""Of all regions' masks together."""


class Inpaint4Drag(DragBenchDR):
    """DragBench-DR's layout with a `meta_data_i4p.pkl`: a `mask` of what deforms, and `points` that say how.

    The mask is not what may change; pairs, prompt and mask of the sample are those of `meta_data.pkl`.
    Source: Lu and Han, Inpaint4Drag, arXiv 2509.04582, section 3.
    """

    name = "inpaint4drag"
    signature = f"folders with {REGIONS}, {PICKLE} and original_image.png"
    includes = ("dragbench_dr",)

    def marks(self, folder: Folder) -> bool:
        """The file with regions."""
        return folder.holds(REGIONS)

    def accepts(self, folder: Folder) -> bool:
        """The file with regions, or the one with pairs."""
        return folder.holds(REGIONS) or folder.holds(PICKLE)

    def regions(self, folder: Path, size: Size | None, problems: Problems) -> Regions | None:
        """What deforms, region by region, and the pairs that move each."""
        path, content = region_pickle(folder, REGIONS, problems)
        if content is None:
            return None
        points = points_of(content.get("points", MISSING), "points", path, problems)
        pairs = split_pairs(points, "points", path, problems)
        mask = mask_of_array(content.get("mask", MISSING), size, path, problems, may_be_black=False)
        if pairs is None or mask is None or size is None:
            return None
        check_inside(pairs, size, path, problems)
        contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        if len(contours) * mask.size > MOST_PIXELS:
            problems.expected(path, f"at most {MOST_PIXELS // mask.size} separate regions", f"{len(contours)}")
            return None
        return Regions(sources=mask, pairs=pairs, parts=deforming_parts(mask, contours, pairs[0]))


def deforming_parts(mask: np.ndarray, contours: Sequence[np.ndarray], sources: ImagePoints) -> tuple[Region, ...]:
    """The filled outer contours of a mask bool `(H, W)`, largest first, each with the pairs whose source lies in it."""
    filled = []
    for contour in contours:
        area = np.zeros(mask.shape, dtype=np.uint8)
        cv2.drawContours(area, [contour], -1, 1, cv2.FILLED)
        filled.append(area.astype(bool))
    filled.sort(key=lambda area: (-int(area.sum()), int(area.argmax())))
    cells = np.round(sources.xy).astype(int).clip(0, np.array(mask.shape[::-1]) - 1)
    return tuple(
        Region(area, task="deformation", pairs=tuple(np.flatnonzero(area[cells[:, 1], cells[:, 0]]).tolist()))
        for area in filled
    )
