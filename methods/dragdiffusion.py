"""DragDiffusion (Shi et al., arXiv 2306.14435): drag by optimising a diffusion latent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from methods.latent_drag import (
    Features,
    Tracker,
    drag_result,
    feature_at,
    mask_tensor,
    nearest_features,
    optimise_latent,
)
from methods.latent_settings import LatentDragSettings
from rotationbench.diffusion.core import StableDiffusion
from rotationbench.diffusion.lora import attached_lora
from rotationbench.method import DragResult, Progress, no_progress
from rotationbench.sample import DragSample


@dataclass(frozen=True, kw_only=True)
class DragDiffusion(LatentDragSettings):
    """DragDiffusion; see `LatentDragSettings` for the settings.

    Pivot pairs are pairs like any other here: they have nowhere to go, are tracked, and count for stopping.
    """

    version: ClassVar[int] = 1

    def edit(
        self, core: StableDiffusion, sample: DragSample, *, seed: int = 0, progress: Progress = no_progress
    ) -> DragResult:
        """Invert the picture, drag its latent, and sample back; see `DragMethod.edit`."""
        image = core.image_tensor(sample.image)
        handles, targets = sample.sources.to_grid(sample.size), sample.targets.to_grid(sample.size)
        steps = core.actual_steps(self.inversion_strength)

        with attached_lora(core, image, sample.prompt, self.lora, seed):
            context = core.embed(sample.prompt)
            inverted = core.invert_image(image, sample.prompt, steps)
            drag = optimise_latent(
                core,
                inverted,
                context,
                core.drag_timestep(steps),
                sample,
                handles,
                targets,
                self,
                make_tracker=lambda features: track_initial_features(features, handles.rc, self.r_t),
                background=mask_tensor(sample, core.device),
                progress=progress,
            )
            edited = core.decode(core.sample_back(inverted, drag.latents, context, steps))

        return drag_result(edited, inverted, drag, handles, targets, recorded=drag.tracked)


def track_initial_features(initial_features: Features, handles: torch.Tensor, r_t: int) -> Tracker:
    """A tracker that looks for each handle's feature in the untouched latent.

    Args:
        initial_features: `(1, C, rows, cols)`.
        handles: `(N, 2)`, the initial handles.
        r_t: radius of the search in cells.
    """
    references = [feature_at(initial_features, handle) for handle in handles]
    return lambda features, current: nearest_features(features, references, current, r_t)
