"""DragNoise (Liu et al., arXiv 2404.01050): drag by optimising the UNet's bottleneck instead of its input.

Reads as the paper's method: what the mid block puts out at one timestep holds the picture's semantics, so that it alone
is optimised, with the loss of DragDiffusion (diffusion semantic optimisation), and then put in place of the mid block's
output while the untouched latent is denoised (diffusion semantic propagation).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F

from methods.dragdiffusion import track_initial_features
from methods.latent_drag import (
    GridAndPrevious,
    LatentDrag,
    drag_result,
    grid_and_previous,
    mask_tensor,
    pull_handles,
)
from methods.latent_settings import LatentDragSettings
from rotationbench.diffusion.core import StableDiffusion
from rotationbench.diffusion.features import bottleneck_in_place, capture_features, down_blocks_remembered
from rotationbench.diffusion.lora import LoraSettings, attached_lora
from rotationbench.errors import ConfigError
from rotationbench.method import DragResult, Progress, no_progress
from rotationbench.points import GridPoints
from rotationbench.sample import DragSample
from rotationbench.settings import check_choice

PAPER_END, PAPER_STEPS = 10, 50
"""The paper denoises in 50 steps and leaves the last ten to the UNet alone."""

VARIANTS = ("paper", "released")


@dataclass(frozen=True, kw_only=True)
class DragNoise(LatentDragSettings):
    """DragNoise; the settings of `LatentDragSettings`, with the defaults of its released benchmark, and these.

    Pivot pairs are pairs like any other here: they have nowhere to go, are tracked, and count for stopping. Patches are
    cut at the border of the grid. `latent_lr` is the learning rate of the bottleneck, `latent` only by name.

    Args:
        variant: `"paper"` puts the optimised bottleneck in place until the last fifth of the steps; `"released"` in
            every step, as the authors' published program does.
        end_step: how many of the last steps do without the optimised bottleneck; None is the variant's own: the
            paper's 10 of 50 in proportion to the steps, or 0.
        replaced_below_index: the same counted from the first of all steps, those that the inversion leaves out
            included: steps with a lower index have the optimised bottleneck. The published program has 50 − `end_step`
            here, however many steps there are. None leaves it to `end_step`.
        background_without_mask: keep the background term on when there is no mask, as the published program does,
            which freezes the whole picture.

    Raises:
        ConfigError: when a value lies outside its range.
    """

    version: ClassVar[int] = 1

    latent_lr: float = 0.02
    lam: float = 0.2
    inversion_strength: float = 0.7
    lora: LoraSettings | None = field(default_factory=lambda: LoraSettings(steps=200))
    variant: str = "paper"
    end_step: int | None = None
    replaced_below_index: int | None = None
    background_without_mask: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, VARIANTS, "variant")
        for name in ("end_step", "replaced_below_index"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ConfigError(f"method.{name}: expected zero, a positive number or null, got {value}.")

    def edit(
        self, core: StableDiffusion, sample: DragSample, *, seed: int = 0, progress: Progress = no_progress
    ) -> DragResult:
        """Invert the picture, drag its bottleneck, and denoise the inverted latent with it; see `DragMethod.edit`.

        Raises:
            ConfigError: when so many steps do without the optimised bottleneck that none is left with it.
        """
        image = core.image_tensor(sample.image)
        handles, targets = sample.sources.to_grid(sample.size), sample.targets.to_grid(sample.size)
        steps = core.actual_steps(self.inversion_strength)
        steps_with_bottleneck = self.steps_with_bottleneck(core.num_inference_steps, steps)

        with attached_lora(core, image, sample.prompt, self.lora, seed):
            context = core.embed(sample.prompt)
            inverted = core.invert_image(image, sample.prompt, steps)
            bottleneck, drag = optimise_bottleneck(
                core, inverted, context, core.drag_timestep(steps), sample, handles, targets, self, progress
            )
            edited = core.decode(
                sample_with_bottleneck(core, inverted, drag.latents, context, steps, steps_with_bottleneck)
            )

        result = drag_result(edited, inverted, drag, handles, targets, recorded=drag.tracked)
        result.trace["bottleneck"] = bottleneck.cpu()
        return result

    def steps_with_bottleneck(self, inference_steps: int, steps: int) -> int:
        """How many of the A = `steps` steps back, out of S = `inference_steps`, have the optimised bottleneck.

        Raises:
            ConfigError: when none has.
        """
        end = self.end_step
        if end is None:
            end = round(PAPER_END / PAPER_STEPS * inference_steps) if self.variant == "paper" else 0
        below = inference_steps - end if self.replaced_below_index is None else self.replaced_below_index
        count = min(below - (inference_steps - steps), steps)
        if count < 1:
            name = "end_step" if self.replaced_below_index is None else "replaced_below_index"
            raise ConfigError(
                f"method.{name}: expected to leave one of the {steps} steps that start at index "
                f"{inference_steps - steps} with the optimised bottleneck, got those below index {below}."
            )
        return count


def optimise_bottleneck(
    core: StableDiffusion,
    inverted: torch.Tensor,
    context: torch.Tensor,
    timestep: int,
    sample: DragSample,
    handles: GridPoints,
    targets: GridPoints,
    settings: DragNoise,
    progress: Progress,
) -> tuple[torch.Tensor, LatentDrag]:
    """Optimise what the mid block puts out at `timestep`; the latent stays as it is.

    Args:
        core: the diffusion model.
        inverted: the latent at `timestep`, `(1, C, h, w)`.
        context: text embedding `(1, 77, C)`.
        timestep: t.
        sample: for its mask and the size of the supervision grid.
        handles: `N` initial handles.
        targets: `N` targets.
        settings: DragNoise's settings.
        progress: told of every step.

    Returns:
        The bottleneck `(1, C, h', w')` as it was, and the drag, whose `latents` is the optimised one.
    """
    mask = mask_tensor(sample, core.device)
    if mask is None and settings.background_without_mask:
        mask = torch.zeros(1, 1, *sample.size, device=core.device)
    may_change = None if mask is None else F.interpolate(mask, size=inverted.shape[2:], mode="nearest")

    def run_unet() -> GridAndPrevious:
        return grid_and_previous(
            core, inverted, context, timestep, sample.size, settings.feature_index, step_back=may_change is not None
        )

    def evaluate(bottleneck: torch.Tensor) -> GridAndPrevious:
        with bottleneck_in_place(core.unet, bottleneck):
            return run_unet()

    with core.cost.phase("drag", core.device), down_blocks_remembered(core.unet):
        with torch.no_grad(), capture_features(core.unet, 0, stop=False) as captured:
            initial = run_unet()
        bottleneck = captured.take().to(core.latent_dtype)
        drag = pull_handles(
            core,
            bottleneck,
            initial,
            evaluate,
            handles,
            targets,
            settings,
            track=track_initial_features(initial[0], handles.rc, settings.r_t),
            may_change=may_change,
            progress=progress,
        )
    return bottleneck, drag


@torch.no_grad()
def sample_with_bottleneck(
    core: StableDiffusion,
    latents: torch.Tensor,
    bottleneck: torch.Tensor,
    context: torch.Tensor,
    steps: int,
    steps_with_bottleneck: int,
) -> torch.Tensor:
    """Denoise over `steps` DDIM steps, the first of them with `bottleneck` in place: semantic propagation.

    Args:
        core: the diffusion model.
        latents: the inverted latent, `(1, C, h, w)`.
        bottleneck: `(1, C, h', w')`.
        context: text embedding `(1, 77, C)`.
        steps: A, as in the inversion.
        steps_with_bottleneck: how many steps have the bottleneck in place.

    Returns:
        The clean latent `(1, C, h, w)`.
    """
    with core.cost.phase("sampling", core.device):
        for index, timestep in enumerate(core.timesteps[-steps:]):
            if index < steps_with_bottleneck:
                with bottleneck_in_place(core.unet, bottleneck):
                    noise = core.noise(latents, timestep, context)
            else:
                noise = core.noise(latents, timestep, context)
            latents = core.scheduler.step(noise, timestep, latents, eta=0.0).prev_sample
    return latents
