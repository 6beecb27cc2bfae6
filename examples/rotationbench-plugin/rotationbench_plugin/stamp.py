"""Stamp: copy a disc of pixels from each handle to its target; a baseline without a model."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from rotationbench.method import DragResult, no_progress
from rotationbench.settings import check_positive


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """Copies what lies around the handles, where the mask lets it.

    Args:
        radius: of the disc, in pixels.

    Raises:
        ConfigError: when the radius is not positive.
    """

    version: ClassVar[int] = 1
    needs_model: ClassVar[bool] = False

    radius: float = 12.0

    def __post_init__(self) -> None:
        check_positive(self, "radius")

    def edit(self, core, sample, *, seed=0, progress=no_progress, **_):
        """Edit a sample; see `rotationbench.method.DragMethod.edit`."""
        dragged = ~sample.is_pivot
        sources, targets = sample.sources[dragged], sample.targets[dragged]
        edited, (rows, columns) = sample.image.copy(), np.indices(sample.size)
        free = np.ones(sample.size, bool) if sample.mask is None else sample.mask
        pairs = np.stack([sources.xy, targets.xy], axis=1).round().astype(int)
        for (from_x, from_y), (to_x, to_y) in pairs:
            disc = free & ((columns - to_x) ** 2 + (rows - to_y) ** 2 <= self.radius**2)
            picked_rows = np.clip(rows[disc] + from_y - to_y, 0, sample.size[0] - 1)
            picked_columns = np.clip(columns[disc] + from_x - to_x, 0, sample.size[1] - 1)
            edited[disc] = sample.image[picked_rows, picked_columns]
        ends = [points.to_unrounded_grid(sample.size) for points in (sources, targets)]
        picture = torch.from_numpy(edited / 255).permute(2, 0, 1)[None].to(torch.float32)
        return DragResult(edited=picture, trajectory=ends, targets=ends[1], steps=1, converged=None)
