"""RegionDrag (Lu et al., arXiv 2407.18247): drag regions by copying latent cells, in one pass and without optimisation.

Reads as the paper's method: the latent is noised while the latent, noise, and self-attention keys and values of every
level are kept; then, on the way back, the cells of the source region are pasted at the target region at every level
down to a limit, and what was kept holds everything else in place. For a rotation, the regions are the object and the
object turned, which makes this a feed-forward baseline for rotation. The program's IP-Adapter is left out.

Points here are `(x, y)`: pixels, or cells of the latent.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from methods.latent_drag import mask_tensor
from methods.region_mapping import Mapping, Pairs, carried, dense_mapping, may_change
from methods.sde import alpha_at, noised, noising_and_denoising, sde_mean, sde_variance, share_of_steps
from rotationbench.diffusion.attention import (
    KeysAndValues,
    lent_keys_and_values,
    recorded_keys_and_values,
    self_attention_layers,
)
from rotationbench.diffusion.core import StableDiffusion
from rotationbench.diffusion.ddim import ddim_step, draw_noise
from rotationbench.errors import ConfigError
from rotationbench.method import DragResult, Progress, no_progress
from rotationbench.points import ImagePoints
from rotationbench.sample import DragSample
from rotationbench.settings import check_between, check_choice, check_not_negative

log = logging.getLogger(__name__)

RELEASED_SEED = 42
ENCODE_FIRST, PASTE_FIRST = METHODS = ("Encode then CP", "CP then Encode")
VARIANTS = ("paper", "released")


@dataclass(frozen=True, kw_only=True)
class RegionDrag:
    """RegionDrag with the defaults of its released benchmark.

    Pivot pairs hold still and are the centre of the turn. An empty mask counts as no mask. Cells that are mapped from
    or to beyond the picture's border are left out. When nothing is mapped, the edit is the picture as it comes back.

    Keys and values of all self-attention layers are kept for `start_t`·`steps` levels: about 46 MB each with Stable
    Diffusion at 512² in fp16.

    Args:
        steps: S, the steps from pure noise to the picture.
        start_t: share of them that is noised and denoised, in (0, 1).
        end_t: cells are pasted down to this share of the training timesteps; more than 1 pastes nothing.
        noise_scale: how much noise the source cells get before the way back; from 1 on it is all noise.
        method: `"Encode then CP"` noises the picture by the SDE and pastes latent cells; `"CP then Encode"` pastes
            pixels first, inverts that picture by DDIM, and takes keys and values from the untouched one.
        mapping: which cell goes where; see `Mapping`.
        variant: `"released"` compares timesteps with `end_t`·`steps`, as the published program does, so that it pastes
            at every level with its defaults.
        paste_from_timestep: the lowest timestep at which cells are pasted; None leaves it to `end_t`.

    Raises:
        ConfigError: when a value lies outside its range.
    """

    version: ClassVar[int] = 1
    reads_metadata: ClassVar[bool] = True

    steps: int = 20
    start_t: float = 0.5
    end_t: float = 0.2
    noise_scale: float = 1.0
    method: str = ENCODE_FIRST
    mapping: Mapping = field(default_factory=Mapping)
    variant: str = "paper"
    paste_from_timestep: int | None = None

    def __post_init__(self) -> None:
        check_not_negative(self, "end_t", "noise_scale")
        check_between(self, 2, 1000, "steps")
        if not 0 < self.start_t < 1 or not 1 <= self.levels < self.steps:
            raise ConfigError(
                f"method.start_t: expected a share of the {self.steps} steps that is at least one of them and fewer "
                f"than all, got {self.start_t}."
            )
        check_choice(self, METHODS, "method")
        check_choice(self, VARIANTS, "variant")

    @property
    def levels(self) -> int:
        """start_t·S, rounded down: the noising steps."""
        return share_of_steps(self.start_t, self.steps)

    def paste_limit(self, training_steps: int) -> int:
        """The lowest timestep at which cells are pasted."""
        if self.paste_from_timestep is not None:
            return self.paste_from_timestep
        return share_of_steps(self.end_t, self.steps if self.variant == "released" else training_steps)

    def edit(
        self, core: StableDiffusion, sample: DragSample, *, seed: int = RELEASED_SEED, progress: Progress = no_progress
    ) -> DragResult:
        """Noise the picture, paste its regions on the way back, and decode; see `DragMethod.edit`.

        All noise comes from one generator seeded with `seed`: the samples of the posterior, the noising steps, and the
        noise of the source cells.
        """
        pairs = dense_mapping(sample, self.mapping, core.vae_factor)
        if len(pairs[0]) == 0:
            log.warning("%s: nothing is mapped to anywhere on the latent's grid; the edit moves nothing", sample.name)
        dragged = ~sample.is_pivot
        handles, targets = sample.sources[dragged], sample.targets[dragged]
        ends = ImagePoints(carried(handles.xy, pairs, core.vae_factor))
        goal, reached = targets.to_grid(sample.size), ends.to_grid(sample.size)
        distance = float((goal.rc - reached.rc).norm(dim=1).mean()) if len(goal) else 0.0

        generator = torch.Generator().manual_seed(seed)
        trace: dict[str, torch.Tensor] = {}
        with torch.no_grad():
            context = core.embed(sample.prompt)
            with core.cost.phase("inversion", core.device):
                init_latent = core.sample_posterior(core.image_tensor(sample.image), generator)
                if self.method == ENCODE_FIRST:
                    levels = noise_by_sde(core, init_latent, context, self, generator)
                    start, copied, blurred = levels[-1].latents, pairs[0], pairs[0]
                else:
                    preview = paste_pixels(sample.image, dense_mapping(sample, self.mapping, 1))
                    trace["preview"] = torch.from_numpy(preview)
                    preview_latent = core.sample_posterior(core.image_tensor(preview), generator)
                    of_preview = invert_by_ode(core, preview_latent, context, self, self_attention=False)
                    of_picture = invert_by_ode(core, init_latent, context, self, self_attention=True)
                    levels = [
                        replace(level, attention=picture.attention)
                        for level, picture in zip(of_preview, of_picture, strict=True)
                    ]
                    start, copied = of_picture[-1].latents, pairs[1]
                    blurred = np.concatenate([outline(pairs[1]), pairs[0]])
            with core.cost.phase("drag", core.device):
                mask = mask_tensor(sample, core.device)
                held = None if mask is None else F.interpolate(mask, size=start.shape[2:], mode="nearest") == 0
                latents = denoise(
                    core,
                    blur(start, blurred, self.noise_scale, generator),
                    levels,
                    context,
                    (copied, pairs[1]),
                    held,
                    self,
                    step_done=lambda step: progress(step, self.levels, distance),
                )
            edited = core.decode(latents).cpu()

        trace |= {"init_latent": init_latent.cpu(), "inverted": start.cpu(), "latents": latents.cpu()}
        trace |= {
            name: torch.from_numpy(cells * core.vae_factor)
            for name, cells in zip(("source", "target"), pairs, strict=True)
        }
        trace["image"] = torch.from_numpy(restored(edited, sample))
        return DragResult(
            edited=edited,
            trajectory=[handles.to_grid(sample.size), reached],
            targets=goal,
            steps=self.levels,
            converged=None,
            trace=trace,
        )


# --- the way up: what is kept ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Level:
    """What is kept at one level of noise.

    Args:
        latents: `(1, C, h, w)`.
        noise: the noise with which the SDE's step returns to the level below, `(1, C, h, w)`; None denoises without.
        attention: keys and values of the self-attention layers.
    """

    latents: torch.Tensor
    noise: torch.Tensor | None
    attention: KeysAndValues


def noise_by_sde(
    core: StableDiffusion,
    latents: torch.Tensor,
    context: torch.Tensor,
    settings: RegionDrag,
    generator: torch.Generator,
) -> list[Level]:
    """Noise clean latents `(1, C, h, w)` step by step, and infer from each level what leads back from it.

    Args:
        core: the diffusion model.
        latents: the picture's.
        context: text embedding `(1, 77, C)`.
        settings: RegionDrag's settings.
        generator: source of the noise.

    Returns:
        The levels from the least noisy to the noisiest, without the clean one.
    """
    stride = len(core.alphas) // settings.steps
    levels: list[Level] = []
    for timestep in noising_and_denoising(core, settings.steps, settings.levels)[0]:
        alpha, alpha_next = alpha_at(core, timestep), alpha_at(core, timestep + stride)
        below, latents = latents, noised(latents, draw_noise(latents.shape, generator, latents), alpha, alpha_next)
        with recorded_keys_and_values(self_attention_layers(core.unet)) as attention:
            predicted = core.noise(latents, timestep + stride, context)
        noise = (below - sde_mean(latents, predicted, alpha_next, alpha)) / sde_variance(alpha_next, alpha).sqrt()
        levels.append(Level(latents, noise, attention))
    return levels


def invert_by_ode(
    core: StableDiffusion,
    latents: torch.Tensor,
    context: torch.Tensor,
    settings: RegionDrag,
    *,
    self_attention: bool,
) -> list[Level]:
    """Invert clean latents `(1, C, h, w)` by DDIM over the same levels; see `noise_by_sde`.

    Args:
        core: the diffusion model.
        latents: a picture's.
        context: text embedding `(1, 77, C)`.
        settings: RegionDrag's settings.
        self_attention: whether keys and values are kept.
    """
    stride = len(core.alphas) // settings.steps
    layers = self_attention_layers(core.unet) if self_attention else []
    levels: list[Level] = []
    for timestep in noising_and_denoising(core, settings.steps, settings.levels)[0]:
        with recorded_keys_and_values(layers) as attention:
            predicted = core.noise(latents, timestep, context)
        latents = ddim_step(latents, predicted, alpha_at(core, timestep), alpha_at(core, timestep + stride))
        levels.append(Level(latents, None, attention))
    return levels


# --- the way back ---------------------------------------------------------------------------------------------------


def denoise(
    core: StableDiffusion,
    latents: torch.Tensor,
    levels: list[Level],
    context: torch.Tensor,
    pairs: Pairs,
    held: torch.Tensor | None,
    settings: RegionDrag,
    step_done: Callable[[int], None],
) -> torch.Tensor:
    """Denoise with what was kept, pasting cells of the kept latents at every level down to the limit.

    Args:
        core: the diffusion model.
        latents: `(1, C, h, w)` at the noisiest level.
        levels: what was kept, the noisiest last.
        context: text embedding `(1, 77, C)`.
        pairs: which cells are copied and where they are pasted, `(M, 2)` each.
        held: bool `(1, 1, h, w)`, True where the kept latents stay; None means nowhere.
        settings: RegionDrag's settings.
        step_done: told of every step.

    Returns:
        The clean latent `(1, C, h, w)`.
    """
    stride = len(core.alphas) // settings.steps
    limit = settings.paste_limit(len(core.alphas))
    _, timesteps = noising_and_denoising(core, settings.steps, settings.levels)
    copied, targets = (cells[last_of_each(pairs[1])] for cells in pairs)
    for index, (timestep, level) in enumerate(zip(timesteps, reversed(levels), strict=True)):
        if timestep >= limit:
            latents = latents.clone()
            latents[:, :, targets[:, 1], targets[:, 0]] = level.latents[:, :, copied[:, 1], copied[:, 0]]
        if held is not None:
            latents = torch.where(held, level.latents, latents)
        with lent_keys_and_values(level.attention):
            predicted = core.noise(latents, timestep, context)
        alpha, alpha_previous = alpha_at(core, timestep), alpha_at(core, timestep - stride)
        if level.noise is None:
            latents = ddim_step(latents, predicted, alpha, alpha_previous)
        else:
            sigma = sde_variance(alpha, alpha_previous).sqrt()
            latents = sde_mean(latents, predicted, alpha, alpha_previous) + sigma * level.noise
        step_done(index)
    return latents


def blur(latents: torch.Tensor, cells: np.ndarray, noise_scale: float, generator: torch.Generator) -> torch.Tensor:
    """New latents `(1, C, h, w)` with √(1 − s²)·old + s·noise in `cells` `(M, 2)`; from s = 1 on s·noise.

    Noise is drawn for every entry; of one that is repeated, the last counts.
    """
    noise = draw_noise((latents.shape[1], len(cells)), generator, latents)
    last = last_of_each(cells)
    x, y = cells[last].T
    kept = math.sqrt(max(0.0, 1 - noise_scale**2))
    blurred = latents.clone()
    blurred[0, :, y, x] = kept * latents[0, :, y, x] + noise_scale * noise[:, last]
    return blurred


# --- cells and pixels -----------------------------------------------------------------------------------------------


def last_of_each(cells: np.ndarray) -> np.ndarray:
    """The indices, ascending, of the last entries of all distinct `cells` `(M, 2)`."""
    _, from_end = np.unique(cells[::-1], axis=0, return_index=True)
    return np.sort(len(cells) - 1 - from_end)


def outline(cells: np.ndarray) -> np.ndarray:
    """The corners `(K, 2)` of the outer contours of `cells` `(M, 2)`, which may be empty."""
    if len(cells) == 0:
        return cells
    mask = np.zeros(cells.max(axis=0)[::-1] + 1, dtype=np.uint8)
    mask[cells[:, 1], cells[:, 0]] = 1
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return np.concatenate(contours)[:, 0]


def paste_pixels(image: np.ndarray, pairs: Pairs) -> np.ndarray:
    """The picture uint8 `(H, W, 3)` with its source pixels `(M, 2)` copied to their targets."""
    sources, targets = pairs
    preview = image.copy()
    preview[targets[:, 1], targets[:, 0]] = image[sources[:, 1], sources[:, 0]]
    return preview


def restored(edited: torch.Tensor, sample: DragSample) -> np.ndarray:
    """uint8 `(H, W, 3)`: the edit `(1, 3, H, W)`, truncated, with the picture's own pixels outside the mask."""
    picture = (edited[0].permute(1, 2, 0) * 255).to(torch.uint8).numpy()
    return np.where(may_change(sample)[..., None], picture, sample.image)
