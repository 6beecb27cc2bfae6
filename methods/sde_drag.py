"""SDE-Drag (Nie et al., arXiv 2311.01410): drag by copy and paste in a noised latent, denoised with its own noise.

Reads as the paper's algorithm for dragging: the picture's latent is noised with recorded noise, the square around each
source is pasted at its target, and a reverse SDE whose noise is inferred from the recording brings the latent back.
Nothing is optimised. A long way is cut into short drags, one after another.

Points here are whole cells `(row, col)` of the latent.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from PIL import Image

from methods.sde import alpha_at, noised, noising_and_denoising, sde_mean, share_of_steps
from rotationbench.diffusion.core import StableDiffusion
from rotationbench.diffusion.ddim import draw_noise
from rotationbench.diffusion.lora import LoraSettings, attached_lora, scale_lora
from rotationbench.errors import ConfigError
from rotationbench.method import DragResult, Progress, no_progress
from rotationbench.points import ImagePoints
from rotationbench.sample import DragSample
from rotationbench.settings import check_between, check_not_negative, check_positive

RELEASED_SEED = 1234


@dataclass(frozen=True, kw_only=True)
class SdeDrag:
    """SDE-Drag with the defaults of its released program.

    Pivot pairs are dropped: they have nowhere to go. An empty mask counts as no mask.

    A drag keeps its whole noising, t0·`steps` + 1 latents: 121 latents with the defaults, 8 MB in float32 at 512².

    Args:
        steps: S, the steps from pure noise to the picture.
        t0: share of them that a drag noises and denoises, in (0, 1); at least two steps, and at least one is left out.
        guidance_scale: guidance at the noisiest level, from where it falls to 1; 1 does without guidance.
        step_size: the way of one drag, in cells of the latent.
        radius: of the square that is copied, in cells of the latent; squares are cut at the border.
        alpha: α, the factor on the pasted square.
        beta: β in [0, 1], how much of its own content the source's square keeps; noise takes the rest.
        lora_scale_min: weight of the LoRA at the noisiest level, from where it rises to 1.
        lora: how the picture's LoRA is trained; None drags without one.

    Raises:
        ConfigError: when a value lies outside its range.
    """

    version: ClassVar[int] = 1

    steps: int = 200
    t0: float = 0.6
    guidance_scale: float = 3.0
    step_size: float = 2.0
    radius: int = 5
    alpha: float = 1.1
    beta: float = 0.3
    lora_scale_min: float = 0.5
    lora: LoraSettings | None = field(
        default_factory=lambda: LoraSettings(rank=4, lr=2e-4, steps=100, batch_size=1, crop="full")
    )

    def __post_init__(self) -> None:
        check_positive(self, "step_size", "radius")
        check_not_negative(self, "alpha", "lora_scale_min")
        check_between(self, 3, 1000, "steps")
        if not 0 < self.t0 < 1 or not 2 <= self.noising_steps < self.steps:
            raise ConfigError(
                f"method.t0: expected a share of the {self.steps} steps that is at least 2 of them and fewer than all, "
                f"got {self.t0}."
            )
        check_between(self, 1, None, "guidance_scale")
        check_between(self, 0, 1, "beta")

    @property
    def noising_steps(self) -> int:
        """t0·S, rounded down."""
        return share_of_steps(self.t0, self.steps)

    def edit(
        self, core: StableDiffusion, sample: DragSample, *, seed: int = RELEASED_SEED, progress: Progress = no_progress
    ) -> DragResult:
        """Move the picture's latent drag by drag and decode it; see `DragMethod.edit`.

        All noise comes from one generator seeded with `seed`: the sample of the posterior, then for each drag its
        noising steps and its squares.
        """
        image = core.image_tensor(sample.image)
        dragged = ~sample.is_pivot
        handles, targets = sample.sources[dragged], sample.targets[dragged]
        generator = torch.Generator().manual_seed(seed)

        with (
            attached_lora(core, image, sample.prompt, self.lora, seed),
            core.cost.phase("drag", core.device),
            torch.no_grad(),
        ):
            context = torch.cat([core.embed(""), core.embed(sample.prompt)])
            init_latent = core.sample_posterior(image, generator)
            size = init_latent.shape[2], init_latent.shape[3]
            may_change = latent_mask(sample, size, core.device)
            ways = drag_ways(
                latent_cells(handles, core.vae_factor, size),
                latent_cells(targets, core.vae_factor, size),
                self.step_size,
            )
            latents = [init_latent]
            trajectory = [handles.to_grid(sample.size)]
            goal = targets.to_grid(sample.size)
            for index, (sources, ends) in enumerate(ways):
                latents.append(drag_once(core, latents[-1], context, sources, ends, may_change, self, generator))
                # A square moves by whole cells of the latent, and the handle inside it by as much.
                moved = (ends - ways[0][0])[:, ::-1] * core.vae_factor
                trajectory.append(ImagePoints(handles.xy + moved).to_grid(sample.size))
                reached = trajectory[-1].rc
                progress(index, len(ways), float((goal.rc - reached).norm(dim=1).mean()), reached)
            edited = core.decode(latents[-1])

        return DragResult(
            edited=edited.cpu(),
            trajectory=trajectory,
            targets=goal,
            steps=len(ways),
            converged=None,
            trace={
                "init_latent": init_latent.cpu(),
                "latents": torch.cat([init_latent[:0], *latents[1:]]).cpu(),
            },
        )


# --- where to -------------------------------------------------------------------------------------------------------


def latent_cells(points: ImagePoints, vae_factor: int, size: tuple[int, int]) -> np.ndarray:
    """The cells `(N, 2)` of the latent, row and column, that hold points of the picture; kept on its `size`."""
    cells = np.floor_divide(points.xy[:, ::-1], vae_factor).astype(int)
    return cells.clip(0, np.array(size) - 1)


def drag_ways(sources: np.ndarray, targets: np.ndarray, step_size: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """The drags that lead from sources to targets in steps of about `step_size` cells.

    Args:
        sources: `(N, 2)` whole cells.
        targets: `(N, 2)` whole cells.
        step_size: in cells.

    Returns:
        Starts and ends `(N, 2)` of each drag; none when there are no points.
    """
    if len(sources) == 0:
        return []
    directions = targets - sources
    count = number_of_drags(float(np.linalg.norm(directions, axis=1).max()), step_size)
    # Cells are cut off towards the source.
    stops = [sources + np.trunc(index * directions / count).astype(int) for index in range(count + 1)]
    return list(itertools.pairwise(stops))


def number_of_drags(longest: float, step_size: float) -> int:
    """How many drags cut a way of `longest` cells into pieces whose length is nearest to `step_size`, at least one."""
    if longest <= step_size:
        return 1
    count = math.floor(longest / step_size)
    fewer, more = abs(longest / count - step_size), abs(longest / (count + 1) - step_size)
    return count + 1 if more < fewer else count


def latent_mask(sample: DragSample, size: tuple[int, int], device: torch.device) -> torch.Tensor | None:
    """Bool `(h, w)`, True where the latent may change; None when there is no mask or an empty one."""
    if sample.mask is None or not sample.mask.any():
        return None
    resized = Image.fromarray(sample.mask.astype(np.uint8) * 255).resize(size[::-1], Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(resized) > 128).to(device)


# --- one drag -------------------------------------------------------------------------------------------------------


def drag_once(
    core: StableDiffusion,
    latents: torch.Tensor,
    context: torch.Tensor,
    sources: np.ndarray,
    targets: np.ndarray,
    may_change: torch.Tensor | None,
    settings: SdeDrag,
    generator: torch.Generator,
) -> torch.Tensor:
    """Noise the latent, paste the sources' squares at the targets, and denoise.

    Args:
        core: the diffusion model.
        latents: `(1, C, h, w)`.
        context: text embeddings `(2, 77, C)`, of the empty prompt and of the prompt.
        sources: `(N, 2)` whole cells.
        targets: `(N, 2)` whole cells.
        may_change: bool `(h, w)` or None; elsewhere the recorded latents are restored at every level.
        settings: SDE-Drag's settings.
        generator: source of the noise.

    Returns:
        The latent `(1, C, h, w)` after the drag.
    """
    stride = len(core.alphas) // settings.steps
    count = settings.noising_steps
    noising, denoising = noising_and_denoising(core, settings.steps, count)

    recorded = [latents]
    for timestep in noising:
        noise = draw_noise(latents.shape, generator, latents)
        recorded.append(noised(recorded[-1], noise, alpha_at(core, timestep), alpha_at(core, timestep + stride)))

    latents = copy_and_paste(recorded[-1], sources, targets, settings, generator)

    for level, timestep in zip(range(count, 0, -1), denoising, strict=True):
        guidance_scale, lora_scale = scales(level, count, settings)
        scale_lora(core, lora_scale)
        noise, recorded_noise = guided_noise(
            core, torch.cat([latents, recorded[level]]), timestep, context, guidance_scale
        ).chunk(2)
        alpha, alpha_previous = alpha_at(core, timestep), alpha_at(core, timestep - stride)
        # The SDE's own noise, σ times, is what leads from one recorded latent to the one below it.
        sde_noise = recorded[level - 1] - sde_mean(recorded[level], recorded_noise, alpha, alpha_previous)
        latents = sde_mean(latents, noise, alpha, alpha_previous) + sde_noise
        if may_change is not None:
            latents = torch.where(may_change, latents, recorded[level - 1])
    return latents


def scales(level: int, count: int, settings: SdeDrag) -> tuple[float, float]:
    """Guidance scale and LoRA scale at a level of noise.

    Both run from 1 to their settings over `count` − 1 levels, and a little beyond at the last one, as in the released
    program: the guidance linearly, the LoRA along a half-wave.

    Args:
        level: 1 is the first noising step, `count` the last.
        count: noising steps.
        settings: SDE-Drag's settings.
    """
    share = level / (count - 1)
    guidance_scale = 1 + (settings.guidance_scale - 1) * share
    lora_scale = 1 + (settings.lora_scale_min - 1) * (1 - math.cos(math.pi * share)) / 2
    return guidance_scale, lora_scale


def copy_and_paste(
    latents: torch.Tensor, sources: np.ndarray, targets: np.ndarray, settings: SdeDrag, generator: torch.Generator
) -> torch.Tensor:
    """Paste the square around each source at its target, α times, and leave β of it and noise at the source.

    Pairs come one after another, each on what the ones before it left.

    Args:
        latents: `(1, C, h, w)`.
        sources: `(N, 2)` whole cells.
        targets: `(N, 2)` whole cells.
        settings: SDE-Drag's settings.
        generator: source of the noise.

    Returns:
        New latents `(1, C, h, w)`.
    """
    latents = latents.clone()
    for source, target in zip(sources, targets, strict=True):
        from_rows, to_rows = squares(int(source[0]), int(target[0]), settings.radius, latents.shape[2])
        from_cols, to_cols = squares(int(source[1]), int(target[1]), settings.radius, latents.shape[3])
        content = latents[:, :, from_rows, from_cols].clone()
        noise = draw_noise(content.shape, generator, latents)
        latents[:, :, from_rows, from_cols] = settings.beta * content + math.sqrt(1 - settings.beta**2) * noise
        latents[:, :, to_rows, to_cols] = settings.alpha * content
    return latents


def squares(source: int, target: int, radius: int, size: int) -> tuple[slice, slice]:
    """Along one axis of `size` cells, the cells around a source and as many around its target, none beyond the border.

    They reach `radius` cells down, and `radius` up without the last.
    """
    low = min(radius, source, target)
    high = min(radius, size - 1 - source, size - 1 - target)
    return slice(source - low, source + high), slice(target - low, target + high)


def guided_noise(
    core: StableDiffusion, latents: torch.Tensor, timestep: int, context: torch.Tensor, guidance_scale: float
) -> torch.Tensor:
    """ε `(B, C, h, w)` with classifier-free guidance, in one evaluation; without it when the scale is 1.

    Args:
        core: the diffusion model.
        latents: `(B, C, h, w)`.
        timestep: t.
        context: text embeddings `(2, 77, C)`, of the empty prompt and of the prompt.
        guidance_scale: 1 or more.
    """
    if guidance_scale == 1:
        return core.noise(latents, timestep, context[1:])
    both = core.noise(torch.cat([latents, latents]), timestep, context.repeat_interleave(len(latents), dim=0))
    unconditional, conditional = both.chunk(2)
    return unconditional + guidance_scale * (conditional - unconditional)
