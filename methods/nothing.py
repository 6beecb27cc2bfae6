"""Nothing: the picture as it came, the lower end of every scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from rotationbench.method import DragResult, Progress, no_progress
from rotationbench.sample import DragSample

if TYPE_CHECKING:
    from rotationbench.diffusion.core import StableDiffusion


@dataclass(frozen=True, kw_only=True)
class Nothing:
    """Returns the source picture; no handle moves, so that what is left of the drag is all of it."""

    version: ClassVar[int] = 1
    needs_model: ClassVar[bool] = False

    def edit(
        self, core: StableDiffusion | None, sample: DragSample, *, seed: int = 0, progress: Progress = no_progress
    ) -> DragResult:
        """Give the picture back; see `DragMethod.edit`. Neither the core nor the seed has a part in it."""
        picture = torch.from_numpy(sample.image.copy()).permute(2, 0, 1)[None].to(torch.float32) / 255
        return DragResult(
            edited=picture,
            trajectory=[sample.sources.to_unrounded_grid(sample.size)],
            targets=sample.targets.to_unrounded_grid(sample.size),
            steps=0,
            converged=False,
        )
