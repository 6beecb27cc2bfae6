"""DragLoRA (Xia et al., arXiv 2505.12427): drag by optimising a LoRA on the UNet instead of the latent.

Reads as the paper's algorithm: the drag's loss trains the LoRA online, a denoising score keeps what the UNet knew, and
after each update the latent is adapted: denoised by one step with the new LoRA and noised again. While points move well
by that alone, the LoRA rests (adapt mode); while they are lost, they go back to where they were.

Rows and columns are cells of the supervision grid.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F

from methods.initial_features import patch_difference, track_closer
from methods.latent_drag import mask_tensor
from methods.latent_settings import check_inversion_strength
from methods.sde import noised
from rotationbench.diffusion.attention import (
    lent_keys_and_values,
    recorded_keys_and_values,
    shared_self_attention_layers,
)
from rotationbench.diffusion.core import StableDiffusion, grid_features
from rotationbench.diffusion.ddim import draw_noise, predicted_x0
from rotationbench.diffusion.lora import LoraSettings, attached_lora
from rotationbench.diffusion.trainable_lora import TrainableLora, trainable_lora
from rotationbench.method import DragResult, Progress, no_progress
from rotationbench.points import GridPoints
from rotationbench.sample import DragSample
from rotationbench.settings import check_between, check_not_negative, check_positive

RELEASED_SEED = 42
FIRST_ADAPTING_STEP = 11
GOAL_DISTANCE = 1.4
MOST_RETURNS = 3
MOST_STILL_ROUNDS = 5
WEIGHT_DECAY = 1e-2


@dataclass(frozen=True, kw_only=True)
class DragLora:
    """DragLoRA with the defaults of its released benchmark.

    Pivot pairs are pairs like any other: tracking takes no handle farther from its target, so that they hold still.

    Args:
        max_steps: limit of updates of the LoRA; rounds in adapt mode do not count.
        lora_lr: learning rate of AdamW on the LoRA.
        lam: λ, the weight of the background term.
        lam_dds: λ_dds, the weight of the delta denoising score that holds the LoRA back.
        inversion_strength: share of the DDIM steps that the inversion takes, in (0, 1].
        feature_index: the UNet block whose features are supervised: 0 is the mid block, 1 to 4 the up blocks.
        r_m: radius of the motion-supervision patch, in cells.
        r_t: radius of the tracking search, in cells.
        stop_distance: a handle nearer to its target than this, in cells, has arrived; the drag ends when all have.
        revert_above: a handle whose features differ by more than this on average is lost.
        adapt_below: a handle whose features differ by less is found, and the LoRA may rest.
        max_adapt_rounds: rounds that adapt mode lasts at most; the published program may stay in it for ever.
        rank: of the LoRA when the picture has none of its own.
        lora: how the picture's LoRA is trained, from which the drag starts; None starts from a LoRA without effect.

    Raises:
        ConfigError: when a value lies outside its range.
    """

    version: ClassVar[int] = 1

    max_steps: int = 80
    lora_lr: float = 1e-4
    lam: float = 0.1
    lam_dds: float = 50.0
    inversion_strength: float = 0.7
    feature_index: int = 3
    r_m: int = 1
    r_t: int = 3
    stop_distance: float = 2.0
    revert_above: float = 1.3
    adapt_below: float = 1.0
    max_adapt_rounds: int = 20
    rank: int = 16
    lora: LoraSettings | None = field(default_factory=LoraSettings)

    def __post_init__(self) -> None:
        check_positive(self, "max_steps", "lora_lr", "stop_distance", "max_adapt_rounds", "rank")
        check_not_negative(self, "lam", "lam_dds", "r_m", "r_t", "revert_above", "adapt_below")
        check_inversion_strength(self.inversion_strength)
        check_between(self, 0, 4, "feature_index")

    def edit(
        self, core: StableDiffusion, sample: DragSample, *, seed: int = RELEASED_SEED, progress: Progress = no_progress
    ) -> DragResult:
        """Invert the picture, drag by training the LoRA, and sample with it; see `DragMethod.edit`.

        What the drag draws comes from one generator seeded with `seed`: the LoRA when the picture has none, then for
        each round the noise and the timestep of the denoising score and the noise of the latent's adaptation.
        """
        image = core.image_tensor(sample.image)
        handles, targets = sample.sources.to_grid(sample.size), sample.targets.to_grid(sample.size)
        steps = core.actual_steps(self.inversion_strength)
        generator = torch.Generator().manual_seed(seed)

        with attached_lora(core, image, sample.prompt, self.lora, seed):
            context = core.embed(sample.prompt)
            inverted = core.invert_image(image, sample.prompt, steps)
            with trainable_lora(core, self.rank, generator) as lora:
                drag = OnlineDrag(core, lora, inverted, context, steps, sample, handles, targets, self, generator)
                with core.cost.phase("drag", core.device):
                    drag.run(progress)
                edited = core.decode(sample_with_lora(core, lora, inverted, drag.latents, context, steps))
                trace = {"inverted": inverted, "optimized": drag.latents} | drag.trace()

        return DragResult(
            edited=edited.cpu(),
            trajectory=[GridPoints(cells.cpu()) for cells in drag.used],
            targets=targets,
            steps=len(drag.dds_timesteps),
            converged=drag.converged,
            trace={name: values.cpu() for name, values in trace.items()},
        )


class OnlineDrag:
    """A drag in which the LoRA is trained and the latent adapted in turns.

    Args:
        core: the diffusion model.
        lora: what is optimised.
        inverted: the latent `(1, C, h, w)` after the inversion.
        context: text embedding `(1, 77, C)`.
        steps: A, the steps of the inversion.
        sample: for its mask and the size of the supervision grid.
        handles: `N` initial handles.
        targets: `N` targets.
        settings: DragLoRA's settings.
        generator: source of the noise.

    Attributes:
        latents: the latent as it has been adapted, `(1, C, h, w)`.
        tracked: the handles `(N, 2)` after each tracking.
        used: the handles `(N, 2)` that each round went on with, the lost ones back where they were.
        step_index: of each round, the step that it counts as, and the updates made before it.
        differences: the mean difference of each handle's features at each tracking, in two digits.
        dds_timesteps: the timestep of each update's denoising score.
        converged: whether every handle arrived before the limit of updates.
    """

    def __init__(
        self,
        core: StableDiffusion,
        lora: TrainableLora,
        inverted: torch.Tensor,
        context: torch.Tensor,
        steps: int,
        sample: DragSample,
        handles: GridPoints,
        targets: GridPoints,
        settings: DragLora,
        generator: torch.Generator,
    ) -> None:
        self.core, self.lora, self.inverted, self.context = core, lora, inverted, context
        self.timestep, self.image_size = core.drag_timestep(steps), sample.size
        self.settings, self.generator = settings, generator
        self.start, self.goal = (points.rc.to(core.device, core.latent_dtype) for points in (handles, targets))
        mask = mask_tensor(sample, core.device)
        self.may_change = None if mask is None else F.interpolate(mask, size=inverted.shape[2:], mode="nearest")
        self.optimizer = torch.optim.AdamW(lora.parameters, lr=settings.lora_lr, weight_decay=WEIGHT_DECAY)
        self.pace = Pace(settings)
        self.latents = inverted
        # Where the handles are, and where the last update pulled them.
        self.current = self.aims = self.start
        self.tracked: list[torch.Tensor] = []
        self.used: list[torch.Tensor] = []
        self.step_index: list[tuple[int, int]] = []
        self.differences: list[list[float]] = []
        self.dds_timesteps: list[int] = []
        self.converged = False

    def run(self, progress: Progress) -> None:
        """Go on until every handle has arrived or the limit of updates is reached; `progress` is told of each round."""
        limit = self.settings.max_steps
        with torch.no_grad():
            noise, self.initial_features = self._look()
            self.initial_previous = self.core.step_back(self.inverted, noise, self.timestep)
        while len(self.dds_timesteps) < limit:
            noise, features = self._look()
            if self.pace.step > 0:
                self._track(features.detach())
            self.used.append(self.current)
            self.step_index.append((self.pace.step, len(self.dds_timesteps)))
            distances = (self.goal - self.current).norm(dim=1)
            progress(len(self.dds_timesteps), limit, float(distances.mean()), self.current)
            if bool((distances < self.settings.stop_distance).all()):
                self.converged = True
                break
            if not self.pace.adapting:
                self._update(noise, features, distances)
                with torch.no_grad():
                    noise = self.core.noise(self.latents, self.timestep, self.context)
            # While the LoRA rests, the round's first look is what another one would see.
            self._adapt(noise.detach())

    def trace(self) -> dict[str, torch.Tensor]:
        """How the drag went, as arrays."""
        count = len(self.start)
        norms = [weight.detach().norm() for weight in self.lora.parameters]
        return {
            "trajectory": torch.stack(self.tracked) if self.tracked else torch.zeros(0, count, 2),
            "used": torch.stack(self.used),
            "step_index": torch.tensor(self.step_index),
            "min_difference": torch.tensor(self.differences, dtype=torch.float64).view(-1, count),
            "dds_timesteps": torch.tensor(self.dds_timesteps, dtype=torch.int64),
            "lora_norms": torch.stack(norms).view(-1, 2),
        }

    def _look(self) -> tuple[torch.Tensor, torch.Tensor]:
        """ε and F(z) on the supervision grid, of the latent as it is."""
        noise, features = self.core.noise_and_features(
            self.latents, self.timestep, self.context, self.settings.feature_index
        )
        return noise, grid_features(features, self.image_size)

    def _track(self, features: torch.Tensor) -> None:
        found = [
            track_closer(features, self.initial_features, start, handle, target, self.settings.r_t)
            for start, handle, target in zip(self.start, self.current, self.goal, strict=True)
        ]
        self.tracked.append(torch.stack([cell for cell, _ in found]))
        self.differences.append([difference for _, difference in found])
        self.current = self.pace.judge(self.current, self.tracked[-1], self.differences[-1], self.aims)

    def _update(self, noise: torch.Tensor, features: torch.Tensor, distances: torch.Tensor) -> None:
        """One step of AdamW on the LoRA by motion supervision, background and denoising score."""
        settings = self.settings
        arrived = distances < settings.stop_distance
        ways = (self.goal - self.current) / distances.clamp(min=1)[:, None]
        self.aims = torch.where(arrived[:, None], self.goal, self.current + ways)
        terms = [
            (2 * settings.r_m + 1) ** 2
            * patch_difference(features, self.initial_features, start, handle, way, settings.r_m)
            for start, handle, way, rests in zip(self.start, self.current, ways, arrived, strict=True)
            if not rests
        ]
        if self.may_change is not None:
            previous = self.core.step_back(self.latents, noise, self.timestep)
            terms.append(settings.lam * ((previous - self.initial_previous) * (1 - self.may_change)).abs().sum())
        x0 = predicted_x0(self.latents, noise, self.core.alpha(self.timestep))
        wanted, dds_timestep = denoising_target(self.core, self.lora, x0.detach(), self.context, self.generator)
        terms.append(0.5 * settings.lam_dds * F.mse_loss(x0, wanted))
        gradients = self.core.gradients(torch.stack(terms).sum(), self.lora.parameters)
        for parameter, gradient in zip(self.lora.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.optimizer.step()
        self.dds_timesteps.append(dds_timestep)
        self.pace.step += 1

    def _adapt(self, noise: torch.Tensor) -> None:
        """The latent denoised by one step along ε and noised again, where it may change."""
        alpha, alpha_previous = (self.core.alpha(t) for t in (self.timestep, self.timestep - self.core.timestep_stride))
        previous = self.core.step_back(self.latents, noise, self.timestep)
        adapted = noised(previous, draw_noise(noise.shape, self.generator, noise), alpha_previous, alpha)
        if self.may_change is not None:
            adapted = torch.where(self.may_change == 1, adapted, self.inverted)
        self.latents = adapted


class Pace:
    """Whether the LoRA is trained or rests, and which handles go back.

    Args:
        settings: DragLoRA's settings.

    Attributes:
        step: i, the step that the next round counts as.
        adapting: whether the LoRA rests.
    """

    def __init__(self, settings: DragLora) -> None:
        self.settings = settings
        self.step, self.adapting = 0, False
        self._returns = self._still = self._rounds = 0

    def judge(
        self, before: torch.Tensor, tracked: torch.Tensor, differences: list[float], aims: torch.Tensor
    ) -> torch.Tensor:
        """The handles `(N, 2)` to go on with.

        Args:
            before: `(N, 2)`, before the tracking.
            tracked: `(N, 2)`, after it.
            differences: `N` mean differences of the features there from those at the start.
            aims: `(N, 2)`, where the last update pulled the handles.
        """
        settings = self.settings
        if self.adapting:
            self._rounds += 1
            self._still += int(torch.equal(tracked, before))
            lost = min(differences) > settings.revert_above
            if lost or self._still > MOST_STILL_ROUNDS or self._rounds >= settings.max_adapt_rounds:
                self.adapting = False
        elif self.step >= FIRST_ADAPTING_STEP and min(differences) < settings.adapt_below:
            if float((tracked - aims).norm()) < GOAL_DISTANCE:
                self.adapting = True
                self._still = self._rounds = 0
        elif max(differences) > settings.revert_above and self._returns < MOST_RETURNS:
            self._returns += 1
            self.step -= 1
            goes_back = torch.tensor([difference > settings.revert_above for difference in differences])
            return torch.where(goes_back.to(tracked.device)[:, None], before, tracked)
        else:
            self._returns = 0
        return tracked


@torch.no_grad()
def denoising_target(
    core: StableDiffusion,
    lora: TrainableLora,
    x0: torch.Tensor,
    context: torch.Tensor,
    generator: torch.Generator,
) -> tuple[torch.Tensor, int]:
    """x*, the clean latent that the UNet without the LoRA would rather see, by a delta denoising score.

    x* = x0 − (1 − ᾱ_s)·(U0 − U) of x0 noised to s, a uniform timestep.

    Args:
        core: the diffusion model.
        lora: on the UNet U; U0 is the UNet without it.
        x0: `(1, C, h, w)`.
        context: text embedding `(1, 77, C)`.
        generator: source of the noise and of s.

    Returns:
        x* `(1, C, h, w)` and s.
    """
    noise = draw_noise(x0.shape, generator, x0)
    timestep = int(torch.randint(0, len(core.alphas), (1,), generator=generator))
    alpha = core.alphas[timestep]
    noised = alpha.sqrt() * x0 + (1 - alpha).sqrt() * noise
    with lora.set_aside():
        before = core.noise(noised, timestep, context)
    return x0 - (1 - alpha) * (before - core.noise(noised, timestep, context)), timestep


@torch.no_grad()
def sample_with_lora(
    core: StableDiffusion,
    lora: TrainableLora,
    original: torch.Tensor,
    edited: torch.Tensor,
    context: torch.Tensor,
    steps: int,
) -> torch.Tensor:
    """Denoise `edited` with the LoRA, late self-attention reading what the UNet without it makes of `original`.

    Args:
        core: the diffusion model.
        lora: on the UNet.
        original: the inverted latent `(1, C, h, w)`, denoised alongside without the LoRA.
        edited: the adapted latent `(1, C, h, w)`.
        context: text embedding `(1, 77, C)`.
        steps: A, as in the inversion.

    Returns:
        The edited clean latent `(1, C, h, w)`.
    """
    layers = shared_self_attention_layers(core.unet)
    with core.cost.phase("sampling", core.device):
        for timestep in core.timesteps[-steps:]:
            with lora.set_aside(), recorded_keys_and_values(layers) as store:
                noise = core.noise(original, timestep, context)
            original = core.scheduler.step(noise, timestep, original, eta=0.0).prev_sample
            with lent_keys_and_values(store):
                noise = core.noise(edited, timestep, context)
            edited = core.scheduler.step(noise, timestep, edited, eta=0.0).prev_sample
    return edited
