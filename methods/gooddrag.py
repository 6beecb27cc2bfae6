"""GoodDrag (Zhang et al., arXiv 2404.07206): dragging and denoising take turns, with the first look as reference.

Reads as section 3 of the paper. Alternating drag and denoising: the latent is dragged at several timesteps instead of
one, so that denoising can mend what a drag has perturbed before the next adds to it. Information-preserving motion
supervision: what is pulled towards the target is compared with the picture as it was at the same timestep, and not with
what the drag has made of it.

Rows and columns are cells of the supervision grid, half the picture's resolution.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F

from methods.latent_drag import (
    FeaturesAndPrevious,
    features_and_previous,
    mask_tensor,
    nearest_feature,
    read_bilinear,
)
from methods.latent_settings import OptimisationSettings
from rotationbench.diffusion.attention import mutual_self_attention
from rotationbench.diffusion.core import StableDiffusion
from rotationbench.diffusion.lora import LoraSettings, attached_lora
from rotationbench.method import DragResult, Progress, no_progress
from rotationbench.points import GridPoints
from rotationbench.sample import DragSample
from rotationbench.settings import check_not_negative, check_positive


@dataclass(frozen=True, kw_only=True)
class GoodDrag(OptimisationSettings):
    """GoodDrag; the settings of `OptimisationSettings`, with the defaults of its released benchmark, and these.

    Pivot pairs are pairs like any other here: they have nowhere to go, are tracked, and count for stopping. Windows are
    cut at the border of the grid.

    Args:
        r_m: radius of the motion-supervision patch, in cells.
        r_t: radius of the tracking search, in cells.
        r1, r2: the radii by the paper's names; None leaves them to `r_m` and `r_t`.
        beta: β, how far ahead of a handle its patch is supervised, in cells, or all the way when that is shorter.
        drag_end_step: T', how many of the first timesteps are dragged at; all of them where there are fewer.
        track_per_denoise: B, rounds of tracking at each timestep, the one at its start not counted.
        max_drag_per_track: J, updates of the latent per round of tracking.
        drag_loss_threshold: motion supervision below this, times (2·r_m)², is tracked at once.
        once_drag: track after every update.
        max_track_no_change: the drag ends after this many rounds in a row, over all timesteps, that moved no handle.
        max_steps: limit of updates at all timesteps together, shared out evenly among them; None is no limit beyond
            `drag_end_step` × `track_per_denoise` × `max_drag_per_track`.
        stop_distance: a handle nearer to its target than this, in cells, has arrived; the drag ends when all have.
        use_prompt: condition on the sample's prompt; the benchmark of the published program does not.
        background_without_mask: keep the background term on when there is no mask, as the published program does,
            which freezes the whole picture.

    Raises:
        ConfigError: when a value lies outside its range.
    """

    version: ClassVar[int] = 1

    latent_lr: float = 0.02
    lora: LoraSettings | None = field(default_factory=lambda: LoraSettings(steps=70))
    r_m: int = 4
    r_t: int = 12
    r1: int | None = None
    r2: int | None = None
    beta: float = 4.0
    drag_end_step: int = 7
    track_per_denoise: int = 10
    max_drag_per_track: int = 3
    drag_loss_threshold: float = 0.0
    once_drag: bool = False
    max_track_no_change: int = 5
    max_steps: int | None = None
    stop_distance: float = 2.0
    use_prompt: bool = True
    background_without_mask: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "beta", "drag_end_step", "track_per_denoise", "max_drag_per_track", "max_track_no_change")
        check_positive(self, "stop_distance", *(["max_steps"] if self.max_steps is not None else []))
        check_not_negative(self, "r_m", "r_t", "drag_loss_threshold")
        check_not_negative(self, *(name for name in ("r1", "r2") if getattr(self, name) is not None))

    @property
    def supervision_radius(self) -> int:
        """r1 of the paper."""
        return self.r_m if self.r1 is None else self.r1

    @property
    def tracking_radius(self) -> int:
        """r2 of the paper."""
        return self.r_t if self.r2 is None else self.r2

    def updates_at(self, stage: int, stages: int, done: int) -> int:
        """The limit of updates at the timestep number `stage` of `stages`, after `done` updates at those before it."""
        limit = self.track_per_denoise * self.max_drag_per_track
        if self.max_steps is None:
            return limit
        # The fair share, rounded up: what earlier timesteps left over goes to the later ones.
        return min(limit, -(-(self.max_steps - done) // (stages - stage)))

    def edit(
        self, core: StableDiffusion, sample: DragSample, *, seed: int = 0, progress: Progress = no_progress
    ) -> DragResult:
        """Invert the picture, then drag and denoise in turns; see `DragMethod.edit`."""
        image = core.image_tensor(sample.image)
        prompt = sample.prompt if self.use_prompt else ""
        handles, targets = sample.sources.to_grid(sample.size), sample.targets.to_grid(sample.size)
        timesteps = core.timesteps[-core.actual_steps(self.inversion_strength) :]
        stages = min(self.drag_end_step, len(timesteps))

        with attached_lora(core, image, prompt, self.lora, seed):
            context = core.embed(prompt)
            inverted = core.invert_image(image, prompt, len(timesteps))
            with core.cost.phase("drag", core.device):
                references = look_at_the_original(core, inverted, context, timesteps[:stages], sample, handles, self)
            drag = Drag(core, context, sample, handles, targets, self, stages, progress)
            pair = torch.cat([inverted, inverted])
            optimized = []
            for stage, timestep in enumerate(timesteps):
                drags = stage < stages and not drag.ended
                if drags:
                    with core.cost.phase("drag", core.device):
                        dragged = drag.at(stage, timestep, pair[1:], references[stage])
                    optimized.append(dragged)
                    pair = torch.cat([pair[:1], dragged])
                with (
                    core.cost.phase("sampling", core.device),
                    nullcontext() if drags else mutual_self_attention(core.unet),
                    torch.no_grad(),
                ):
                    noise = core.noise(pair, timestep, context)
                    pair = core.scheduler.step(noise, timestep, pair, eta=0.0).prev_sample
            edited = core.decode(pair[1:])

        return DragResult(
            edited=edited.cpu(),
            trajectory=[handles, *(GridPoints(cells.cpu()) for cells in drag.tracked)],
            targets=targets,
            steps=drag.updates,
            converged=drag.arrived,
            trace={
                "inverted": inverted.cpu(),
                "optimized": torch.cat(optimized).cpu(),
                "latents": pair[1:].cpu(),
                "trajectory": torch.stack(drag.tracked).cpu(),
                "tracked_per_stage": torch.tensor(drag.tracked_per_stage),
            },
        )


# --- what the handles looked like -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Reference:
    """The untouched picture at one timestep, as far as a drag there compares with it.

    Args:
        patches: for each handle, the features around its initial cell, `(1, C, rows, cols)`, cut at the border.
        cells: for each handle, the features of its initial cell, `(C,)`.
        previous: the latent one step cleaner, `(1, C, h, w)`.
    """

    patches: list[torch.Tensor]
    cells: list[torch.Tensor]
    previous: torch.Tensor


@torch.no_grad()
def look_at_the_original(
    core: StableDiffusion,
    inverted: torch.Tensor,
    context: torch.Tensor,
    timesteps: list[int],
    sample: DragSample,
    handles: GridPoints,
    settings: GoodDrag,
) -> list[Reference]:
    """Denoise the original over `timesteps` and keep what the drags there compare with.

    Args:
        core: the diffusion model.
        inverted: the latent at the first timestep, `(1, C, h, w)`.
        context: text embedding `(1, 77, C)`.
        timesteps: where the latent will be dragged, from the noisiest on.
        sample: for the size of the supervision grid.
        handles: `N` initial handles.
        settings: GoodDrag's settings.
    """
    references = []
    latents = inverted
    for timestep in timesteps:
        features, previous = features_and_previous(
            core, latents, context, timestep, sample.size, settings.feature_index, step_back=True
        )
        assert previous is not None
        windows = [window(handle, settings.supervision_radius, features.shape[2:]) for handle in handles.rc]
        references.append(
            Reference(
                [features[:, :, rows[:, None], cols].clone() for rows, cols in windows],
                [features[0, :, int(row), int(col)].clone() for row, col in handles.rc],
                previous,
            )
        )
        latents = previous
    return references


def window(centre: torch.Tensor, radius: int, size: torch.Size) -> tuple[torch.Tensor, torch.Tensor]:
    """The rows and columns around a whole cell, `(R,)` and `(K,)`, cut at the border of a grid of `size`."""
    rows, cols = (
        torch.arange(max(0, int(place) - radius), min(extent, int(place) + radius + 1))
        for place, extent in zip(centre, size, strict=True)
    )
    return rows, cols


# --- the drag -------------------------------------------------------------------------------------------------------


class Drag:
    """A drag over several timesteps: where the handles are, and whether it goes on.

    Args:
        core: the diffusion model.
        context: text embedding `(1, 77, C)`.
        sample: for its mask and the size of the supervision grid.
        handles: `N` initial handles.
        targets: `N` targets.
        settings: GoodDrag's settings.
        stages: at how many timesteps the latent may be dragged.
        progress: told of every update.

    Attributes:
        tracked: the handles `(N, 2)` after each round of tracking.
        tracked_per_stage: how many rounds each timestep had.
        updates: updates of the latent so far.
        arrived: whether every handle has come to its target.
    """

    def __init__(
        self,
        core: StableDiffusion,
        context: torch.Tensor,
        sample: DragSample,
        handles: GridPoints,
        targets: GridPoints,
        settings: GoodDrag,
        stages: int,
        progress: Progress,
    ) -> None:
        self.core, self.context, self.sample, self.settings = core, context, sample, settings
        self.stages, self.progress = stages, progress
        self._most_updates = stages * settings.track_per_denoise * settings.max_drag_per_track
        if settings.max_steps is not None:
            self._most_updates = min(self._most_updates, settings.max_steps)
        self.start, self.goal = (points.rc.to(core.device, core.latent_dtype) for points in (handles, targets))
        self.current = self.start
        mask = mask_tensor(sample, core.device)
        if mask is None and settings.background_without_mask:
            mask = torch.zeros(1, 1, *sample.size, device=core.device)
        self.mask = mask
        self.tracked: list[torch.Tensor] = []
        self.tracked_per_stage: list[int] = []
        self.updates = 0
        self.arrived = False
        self._rounds_without_change = 0

    @property
    def ended(self) -> bool:
        """Whether no timestep is dragged at any more."""
        still = self._rounds_without_change >= self.settings.max_track_no_change
        return self.arrived or still or self.updates >= self._most_updates

    def at(self, stage: int, timestep: int, latents: torch.Tensor, reference: Reference) -> torch.Tensor:
        """Drag the latent at one timestep.

        Args:
            stage: the number of the timestep.
            timestep: τ.
            latents: the edited picture's latent there, `(1, C, h, w)`.
            reference: the untouched picture there.

        Returns:
            The dragged latent.
        """
        settings = self.settings
        limit = self.updates + settings.updates_at(stage, self.stages, self.updates)
        variable = latents.clone().requires_grad_(True)
        optimizer = torch.optim.Adam([variable], lr=settings.latent_lr)
        before = len(self.tracked)
        rounds = updates_since_tracking = 0
        while rounds < settings.track_per_denoise and self.updates < limit:
            features, previous = self._evaluate(variable, timestep)
            if len(self.tracked) == before:
                self._track(features, reference)
            distances = (self.goal - self.current).norm(dim=1)
            self.progress(self.updates, self._most_updates, float(distances.mean()), self.current)
            self.arrived = bool((distances < settings.stop_distance).all())
            if self.ended:
                break

            pull = torch.stack(
                [
                    motion_supervision(features, patch, start, current, target, settings)
                    for patch, start, current, target, distance in zip(
                        reference.patches, self.start, self.current, self.goal, distances, strict=True
                    )
                    if distance >= settings.stop_distance
                ]
            ).sum()
            loss = pull
            if previous is not None:
                loss = loss + settings.lam * ((previous - reference.previous) * self._outside(latents)).abs().sum()
            variable.grad = self.core.gradient(loss, variable)
            optimizer.step()
            self.updates += 1
            updates_since_tracking += 1

            low = settings.drag_loss_threshold * (2 * settings.supervision_radius) ** 2
            if (
                updates_since_tracking >= settings.max_drag_per_track
                or settings.once_drag
                or float(pull.detach()) <= low
            ):
                # The features are those from before the update, which saves an evaluation.
                moved = self._track(features, reference)
                self._rounds_without_change = 0 if moved else self._rounds_without_change + 1
                rounds, updates_since_tracking = rounds + 1, 0
        self.tracked_per_stage.append(len(self.tracked) - before)
        return variable.detach()

    def _evaluate(self, latents: torch.Tensor, timestep: int) -> FeaturesAndPrevious:
        return features_and_previous(
            self.core,
            latents,
            self.context,
            timestep,
            self.sample.size,
            self.settings.feature_index,
            step_back=self.mask is not None,
        )

    def _track(self, features: torch.Tensor, reference: Reference) -> bool:
        """Find the handles again; returns whether one has moved."""
        found = torch.stack(
            [
                nearest_feature(features.detach(), cell, handle, self.settings.tracking_radius)
                for cell, handle in zip(reference.cells, self.current, strict=True)
            ]
        )
        moved = not torch.equal(found, self.current)
        self.current = found
        self.tracked.append(found)
        return moved

    def _outside(self, latents: torch.Tensor) -> torch.Tensor:
        """1 where the latent shall stay as it was, `(1, 1, h, w)`."""
        assert self.mask is not None
        return 1 - F.interpolate(self.mask, size=latents.shape[2:], mode="nearest")


def motion_supervision(
    features: torch.Tensor,
    patch: torch.Tensor,
    start: torch.Tensor,
    current: torch.Tensor,
    target: torch.Tensor,
    settings: GoodDrag,
) -> torch.Tensor:
    """The pull on one handle: ahead of it, the picture shall look as it once did at the handle's initial cell.

    Args:
        features: `(1, C, rows, cols)`.
        patch: what the initial cell's surroundings looked like, `(1, C, R, K)`; see `Reference`.
        start: `(2,)`, the initial handle.
        current: `(2,)`, the handle.
        target: `(2,)`, another cell than `current`.
        settings: GoodDrag's settings.

    Returns:
        (2·r1)² × the mean absolute difference of the two patches.
    """
    way = target - current
    distance = way.norm()
    ahead = current + way / distance * torch.clamp(distance, max=settings.beta)
    rows, cols = window(start, settings.supervision_radius, features.shape[2:])
    offsets_down, offsets_across = rows.to(ahead) - start[0], cols.to(ahead) - start[1]
    there = read_bilinear(features, ahead[0] + offsets_down, ahead[1] + offsets_across)
    return (2 * settings.supervision_radius) ** 2 * F.l1_loss(there, patch)
