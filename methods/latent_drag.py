"""What the methods that optimise a latent share, and the loop of DragDiffusion, RotationDrag and DragNoise.

These three optimise by motion supervision between rounds of point tracking; FreeDrag has a loop of its own.

Equation numbers are those of the DragDiffusion paper (arXiv 2306.14435). Rows and columns are cells of the supervision
grid, half the picture's resolution.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from rotationbench.diffusion.core import StableDiffusion, grid_features
from rotationbench.diffusion.lora import LoraSettings
from rotationbench.method import DragResult, Progress
from rotationbench.points import GridPoints
from rotationbench.sample import DragSample
from rotationbench.settings import check_between, check_not_negative, check_positive, check_share

Tracker = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""From features `(1, C, rows, cols)` and handles `(N, 2)` to the handles' new cells `(N, 2)`."""

Skip = Callable[[torch.Tensor], torch.Tensor]
"""From handles `(N, 2)` to bool `(N,)`, True for handles that motion supervision leaves alone."""

FeaturesAndPrevious = tuple[torch.Tensor, torch.Tensor | None]
"""Features `(1, C, rows, cols)` and, where it is needed, the latent one step cleaner `(1, C, h, w)`."""

Evaluate = Callable[[torch.Tensor], FeaturesAndPrevious]
"""From what is optimised to what the UNet makes of it."""


@dataclass(frozen=True, kw_only=True)
class OptimisationSettings:
    """Settings of every method that inverts the picture and optimises a latent.

    Args:
        latent_lr: learning rate of Adam on the latent.
        lam: λ, the weight of the background term.
        inversion_strength: share of the DDIM steps that the inversion takes, in (0, 1].
        feature_index: the UNet block whose features are supervised: 0 is the mid block, 1 to 4 the up blocks.
        lora: how the picture's LoRA is trained; None drags without one.

    Raises:
        ConfigError: when a value lies outside its range.
    """

    latent_lr: float = 0.01
    lam: float = 0.1
    inversion_strength: float = 0.75
    feature_index: int = 3
    lora: LoraSettings | None = field(default_factory=LoraSettings)

    def __post_init__(self) -> None:
        check_positive(self, "latent_lr")
        check_not_negative(self, "lam")
        check_inversion_strength(self.inversion_strength)
        check_between(self, 0, 4, "feature_index")


@dataclass(frozen=True, kw_only=True)
class LatentSettings(OptimisationSettings):
    """The settings of `OptimisationSettings` and this, of methods with a single loop of drag steps.

    Args:
        max_steps: limit of drag steps.

    Raises:
        ConfigError: when a value lies outside its range.
    """

    max_steps: int = 80

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "max_steps")


@dataclass(frozen=True, kw_only=True)
class LatentDragSettings(LatentSettings):
    """The settings of `LatentSettings` and these; the defaults are those of DragDiffusion's released program.

    Args:
        r_m: radius of the motion-supervision patch, in cells.
        r_t: radius of the tracking search, in cells.
        stop_distance: a handle nearer to its target than this, in cells, has arrived; the drag ends when all have.

    Raises:
        ConfigError: when a value lies outside its range.
    """

    r_m: int = 1
    r_t: int = 3
    stop_distance: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "stop_distance")
        check_not_negative(self, "r_m", "r_t")


def check_inversion_strength(strength: float) -> None:
    """Refuse an inversion strength outside (0, 1]."""
    check_share("method.inversion_strength", strength)


@dataclass(frozen=True, eq=False)
class LatentDrag:
    """How the optimisation of a latent went.

    Args:
        latents: the optimised latent `(1, C, h, w)`, or what a method optimises in its place.
        tracked: the handles `(N, 2)` after each round of tracking; the first step has none.
        supervised: the handles `(N, 2)` that each optimiser step used.
        final: where the handles ended, `(N, 2)`.
        converged: whether every handle arrived before the step limit.
    """

    latents: torch.Tensor
    tracked: list[torch.Tensor]
    supervised: list[torch.Tensor]
    final: torch.Tensor
    converged: bool


def mask_tensor(sample: DragSample, device: torch.device) -> torch.Tensor | None:
    """The mask as float `(1, 1, H, W)`, 1 where the picture may change; None when there is none or it is empty.

    An empty mask counts as no mask, as in DragDiffusion's released program: nothing could be dragged under it.
    """
    if sample.mask is None or not sample.mask.any():
        return None
    return torch.from_numpy(sample.mask).to(device, torch.float32)[None, None]


def optimise_latent(
    core: StableDiffusion,
    inverted: torch.Tensor,
    context: torch.Tensor,
    timestep: int,
    sample: DragSample,
    handles: GridPoints,
    targets: GridPoints,
    settings: LatentDragSettings,
    *,
    make_tracker: Callable[[torch.Tensor], Tracker],
    skip: Skip | None = None,
    background: torch.Tensor | None,
    progress: Progress,
) -> LatentDrag:
    """Optimise the latent until every handle has arrived, the step limit is reached, or nothing is left to pull.

    Args:
        core: the diffusion model.
        inverted: the latent at `timestep`, `(1, C, h, w)`.
        context: text embedding `(1, 77, C)`.
        timestep: t, where the latent is optimised.
        sample: for the size of the supervision grid.
        handles: `N` initial handles.
        targets: `N` targets.
        settings: see `LatentDragSettings`.
        make_tracker: called once with the initial features `(1, C, rows, cols)`.
        skip: further handles that motion supervision leaves alone.
        background: float `(1, 1, H, W)`, 1 where the picture may change; None means no background term.
        progress: told of every step.
    """
    may_change = None if background is None else F.interpolate(background, size=inverted.shape[2:], mode="nearest")

    def evaluate(latents: torch.Tensor) -> FeaturesAndPrevious:
        return features_and_previous(
            core, latents, context, timestep, sample.size, settings.feature_index, step_back=may_change is not None
        )

    with core.cost.phase("drag", core.device):
        with torch.no_grad():
            initial = evaluate(inverted)
        return pull_handles(
            core,
            inverted,
            initial,
            evaluate,
            handles,
            targets,
            settings,
            track=make_tracker(initial[0]),
            skip=skip,
            may_change=may_change,
            progress=progress,
        )


def pull_handles(
    core: StableDiffusion,
    start: torch.Tensor,
    initial: FeaturesAndPrevious,
    evaluate: Evaluate,
    handles: GridPoints,
    targets: GridPoints,
    settings: LatentDragSettings,
    *,
    track: Tracker,
    skip: Skip | None = None,
    may_change: torch.Tensor | None,
    progress: Progress,
) -> LatentDrag:
    """The loop of tracking and motion supervision, whatever it is that is optimised.

    Args:
        core: the diffusion model.
        start: the variable before the drag, of any shape; it is left as it is.
        initial: what `evaluate` made of it.
        evaluate: evaluates the UNet on the variable; the latent one step cleaner is needed where `may_change` is given.
        handles: `N` initial handles.
        targets: `N` targets.
        settings: see `LatentDragSettings`.
        track: finds the handles again.
        skip: further handles that motion supervision leaves alone.
        may_change: the mask at the latent's size, `(1, 1, h, w)`; None means no background term.
        progress: told of every step.
    """
    goal = targets.rc.to(core.device, core.latent_dtype)
    current = handles.rc.to(core.device, core.latent_dtype)
    _, initial_previous = initial
    tracked: list[torch.Tensor] = []
    supervised: list[torch.Tensor] = []
    converged = False

    variable = start.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([variable], lr=settings.latent_lr)
    for step in range(settings.max_steps):
        features, previous = evaluate(variable)
        if step > 0:
            with torch.no_grad():
                current = track(features.detach(), current)
            tracked.append(current)
        distances = (goal - current).norm(dim=1)
        progress(step, settings.max_steps, float(distances.mean()), current)
        if bool((distances < settings.stop_distance).all()):
            converged = True
            break

        resting = distances < settings.stop_distance
        if skip is not None:
            resting |= skip(current)
        terms = [
            motion_supervision(features, handle, target, settings.r_m)
            for handle, target, rests in zip(current, goal, resting, strict=True)
            if not rests
        ]
        if previous is not None and initial_previous is not None and may_change is not None:
            terms.append(settings.lam * ((previous - initial_previous) * (1 - may_change)).abs().sum())
        if not terms:
            break
        supervised.append(current)
        variable.grad = core.gradient(torch.stack(terms).sum(), variable)
        optimizer.step()

    return LatentDrag(variable.detach(), tracked, supervised, current, converged)


def features_and_previous(
    core: StableDiffusion,
    latents: torch.Tensor,
    context: torch.Tensor,
    timestep: int,
    image_size: tuple[int, int],
    index: int,
    *,
    step_back: bool,
) -> FeaturesAndPrevious:
    """F(z) on the supervision grid and, where a background term needs it, the latent one step cleaner.

    Args:
        core: the diffusion model.
        latents: z, `(1, C, h, w)`.
        context: text embedding `(1, 77, C)`.
        timestep: t.
        image_size: height and width of the picture in pixels.
        index: the UNet block that the features come from.
        step_back: whether the cleaner latent is wanted; without it the blocks behind the features are not evaluated.

    Returns:
        Features `(1, C, H // 2, W // 2)`, and the latent `(1, C, h, w)` at the next lower timestep or None.
    """
    if not step_back:
        return grid_features(core.features(latents, timestep, context, index), image_size), None
    noise, features = core.noise_and_features(latents, timestep, context, index)
    return grid_features(features, image_size), core.step_back(latents, noise, timestep)


def motion_supervision(features: torch.Tensor, handle: torch.Tensor, target: torch.Tensor, r_m: int) -> torch.Tensor:
    """The pull on one handle, eq. 3 without the mask term: the patch one step ahead shall look like the patch here.

    Args:
        features: `(1, C, rows, cols)`.
        handle: `(2,)`, row and column.
        target: `(2,)`, another cell than `handle`.
        r_m: radius of the patch; it is cut at the border of the grid.

    Returns:
        (2·r_m + 1)² × the mean absolute difference of the two patches; only the patch ahead carries gradients.
    """
    rows, cols = features.shape[2:]
    direction = (target - handle) / (target - handle).norm()
    row, col = int(handle[0]), int(handle[1])
    patch_rows = torch.arange(max(0, row - r_m), min(rows, row + r_m + 1), device=features.device)
    patch_cols = torch.arange(max(0, col - r_m), min(cols, col + r_m + 1), device=features.device)
    here = features[:, :, patch_rows[:, None], patch_cols].detach()
    ahead = read_bilinear(features, patch_rows + direction[0], patch_cols + direction[1])
    return (2 * r_m + 1) ** 2 * F.l1_loss(ahead, here)


def read_bilinear(features: torch.Tensor, rows: torch.Tensor, cols: torch.Tensor) -> torch.Tensor:
    """Features on the raster of `rows` × `cols`, bilinearly between cells; beyond the border the border's cell counts.

    Args:
        features: `(1, C, H, W)`.
        rows: `(R,)`, fractional.
        cols: `(K,)`, fractional.

    Returns:
        `(1, C, R, K)`.
    """
    last_row, last_col = features.shape[2] - 1, features.shape[3] - 1
    rows, cols = rows.clamp(0, last_row), cols.clamp(0, last_col)
    top, left = rows.floor().long(), cols.floor().long()
    bottom, right = (top + 1).clamp(max=last_row), (left + 1).clamp(max=last_col)
    down, across = (rows - top)[:, None], (cols - left)[None, :]
    return (
        features[:, :, top[:, None], left] * (1 - down) * (1 - across)
        + features[:, :, top[:, None], right] * (1 - down) * across
        + features[:, :, bottom[:, None], left] * down * (1 - across)
        + features[:, :, bottom[:, None], right] * down * across
    )


def nearest_feature(features: torch.Tensor, reference: torch.Tensor, handle: torch.Tensor, r_t: int) -> torch.Tensor:
    """Point tracking, eq. 5: the cell around the handle whose feature is nearest to a reference in L1.

    Args:
        features: `(1, C, rows, cols)`.
        reference: `(C,)`.
        handle: `(2,)`, the centre of the search.
        r_t: radius of the search; it is cut at the border of the grid.

    Returns:
        `(2,)`, row and column of the nearest cell; of equally near ones the first in reading order.
    """
    rows, cols = features.shape[2:]
    row, col = int(handle[0]), int(handle[1])
    top, left = max(0, row - r_t), max(0, col - r_t)
    window = features[0, :, top : min(rows, row + r_t + 1), left : min(cols, col + r_t + 1)]
    best = int((window - reference[:, None, None]).abs().sum(dim=0).argmin())
    return torch.tensor([top + best // window.shape[2], left + best % window.shape[2]]).to(handle)


def drag_result(
    edited: torch.Tensor,
    inverted: torch.Tensor,
    drag: LatentDrag,
    handles: GridPoints,
    targets: GridPoints,
    recorded: list[torch.Tensor],
    axis: GridPoints | None = None,
) -> DragResult:
    """Put a finished drag into the common form.

    Args:
        edited: `(1, 3, H, W)` in [0, 1].
        inverted: the latent before the drag.
        drag: what `optimise_latent` returned.
        handles: initial handles.
        targets: targets.
        recorded: the handles `(N, 2)` per step as the method's released program would list them, for the trace.
        axis: rotation axis of each handle, for methods that have one.
    """
    count = len(handles)
    trace = {
        "inverted": inverted.cpu(),
        "optimized": drag.latents.cpu(),
        "trajectory": torch.stack(recorded).cpu() if recorded else torch.zeros(0, count, 2),
    }
    if axis is not None:
        trace["axis"] = axis.rc.cpu()
    return DragResult(
        edited=edited.cpu(),
        trajectory=[handles, *(GridPoints(cells.cpu()) for cells in drag.tracked)],
        targets=targets,
        steps=len(drag.supervised),
        converged=drag.converged,
        axis=axis,
        trace=trace,
    )
