"""DragBench-DR and -SR with RegionDrag's regions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rotationbench.datasets.folders import Folder, file_called
from rotationbench.datasets.formats.base import Entry, Size
from rotationbench.datasets.formats.dragbench_dr import PICKLE, DragBenchDR, region_pickle
from rotationbench.datasets.reading import MISSING, Problems, check_inside, points_of, split_pairs
from rotationbench.points import ImagePoints
from rotationbench.sample import DragSample, Regions

REGIONS = "meta_data_region.pkl"
PAINTED = "meta_data_mask.pkl"
CELL = 8


class RegionDrag(DragBenchDR):
    """DragBench-DR's layout with a `meta_data_region.pkl`, whose `points` pair latent cells: corners of 8 × 8 pixels.

    The cells steer region methods; pairs, prompt and mask are those of `meta_data.pkl`, which RegionDrag measures with.
    What its interface saves (`meta_data_mask.pkl`) has no pairs to measure and is no sample.
    Source: Lu et al., RegionDrag, arXiv 2407.18247, section 4.
    """

    name = "regiondrag"
    signature = f"folders with {REGIONS}, {PICKLE} and original_image.png"
    includes = ("dragbench_dr",)

    def marks(self, folder: Folder) -> bool:
        """One of the files with regions."""
        return folder.holds(REGIONS) or folder.holds(PAINTED)

    def accepts(self, folder: Folder) -> bool:
        """One of the files with regions, or the one with pairs."""
        return self.marks(folder) or folder.holds(PICKLE)

    def read(self, entry: Entry, problems: Problems) -> DragSample | None:
        """The sample with its regions; one that has regions only is refused, after a look at them."""
        only_regions = file_called(entry.path, PAINTED, problems) and not file_called(entry.path, PICKLE, problems)
        if not only_regions:
            return super().read(entry, problems)
        path, content = region_pickle(entry.path, PAINTED, problems)
        if content is not None:
            points = points_of(content.get("points", MISSING), "points", path, problems)
            if points is not None:
                problems.expected(
                    path, f"pairs of points in {PICKLE}", f"regions only, of {len(points) // 2} pairs of cells"
                )
        return None

    def regions(self, folder: Path, size: Size | None, problems: Problems) -> Regions | None:
        """The cells of sources and targets, and what goes where."""
        path, content = region_pickle(folder, REGIONS, problems)
        if content is None:
            return None
        points = points_of(content.get("points", MISSING), "points", path, problems)
        pairs = split_pairs(points, "points", path, problems)
        if pairs is None or size is None:
            return None
        if not len(pairs[0]):
            problems.expected(path, "at least one pair of cells", "none")
        check_inside(pairs, size, path, problems)
        sources, targets = (cells_of(points, size) for points in pairs)
        return Regions(sources, targets, pairs, (float(CELL), float(CELL)))


def cells_of(points: ImagePoints, size: Size) -> np.ndarray:
    """The latent cells that points lie in, bool `size = (height, width)`."""
    mask = np.zeros(size, dtype=bool)
    for column, row in np.unique((points.xy // CELL).astype(int), axis=0).tolist():
        if min(row, column) >= 0:
            mask[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] = True
    return mask
