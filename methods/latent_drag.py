"""What the methods that optimise a latent share, and the loop of DragDiffusion, RotationDrag and DragNoise.

These three optimise by motion supervision between rounds of point tracking; FreeDrag has a loop of its own.

Equation numbers are those of the DragDiffusion paper (arXiv 2306.14435). Rows and columns are cells of the supervision
grid, half the picture's resolution.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from methods.latent_settings import LatentDragSettings
from rotationbench.diffusion.core import StableDiffusion
from rotationbench.diffusion.grid import FeatureGrid
from rotationbench.method import DragResult, Progress
from rotationbench.points import GridPoints
from rotationbench.sample import DragSample

Features = torch.Tensor | FeatureGrid
"""Features on the supervision grid, `(1, C, rows, cols)`, all of them or as they are looked at."""

Tracker = Callable[[Features, torch.Tensor], torch.Tensor]
"""From features `(1, C, rows, cols)` and handles `(N, 2)` to the handles' new cells `(N, 2)`."""

Skip = Callable[[torch.Tensor], torch.Tensor]
"""From handles `(N, 2)` to bool `(N,)`, True for handles that motion supervision leaves alone."""

FeaturesAndPrevious = tuple[torch.Tensor, torch.Tensor | None]
"""Features `(1, C, rows, cols)` and, where it is needed, the latent one step cleaner `(1, C, h, w)`."""

GridAndPrevious = tuple[FeatureGrid, torch.Tensor | None]
"""The same with features that are computed where they are looked at."""

Evaluate = Callable[[torch.Tensor], GridAndPrevious]
"""From what is optimised to what the UNet makes of it."""


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
    make_tracker: Callable[[FeatureGrid], Tracker],
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

    def evaluate(latents: torch.Tensor) -> GridAndPrevious:
        return grid_and_previous(
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
    initial: GridAndPrevious,
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
    # Where handles are decides what is computed next: it is kept where it is decided.
    goal, current = targets.rc.to(core.latent_dtype), handles.rc.to(core.latent_dtype)
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


def grid_and_previous(
    core: StableDiffusion,
    latents: torch.Tensor,
    context: torch.Tensor,
    timestep: int,
    image_size: tuple[int, int],
    index: int,
    *,
    step_back: bool,
) -> GridAndPrevious:
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
        return FeatureGrid(core.features(latents, timestep, context, index), image_size), None
    noise, features = core.noise_and_features(latents, timestep, context, index)
    return FeatureGrid(features, image_size), core.step_back(latents, noise, timestep)


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
    """`grid_and_previous` with the features of all cells at once."""
    grid, previous = grid_and_previous(core, latents, context, timestep, image_size, index, step_back=step_back)
    return grid.whole(), previous


def window_of(features: Features, rows: range, cols: range) -> torch.Tensor:
    """The cells `(1, C, R, K)` of `R` rows and `K` columns of the grid."""
    if isinstance(features, FeatureGrid):
        return features.window(rows, cols)
    return features[:, :, rows.start : rows.stop, cols.start : cols.stop]


def around(handle: torch.Tensor, radius: int, size: torch.Size) -> tuple[range, range]:
    """The rows and columns within `radius` of a handle, cut at the border of a grid of `size` `(1, C, rows, cols)`."""
    row, col = (
        range(max(0, int(place) - radius), min(extent, int(place) + radius + 1))
        for place, extent in zip(handle, size[2:], strict=True)
    )
    return row, col


def feature_at(features: Features, handle: torch.Tensor) -> torch.Tensor:
    """The feature `(C,)` of a handle's cell."""
    return window_of(features, *around(handle, 0, features.shape))[0, :, 0, 0]


def motion_supervision(features: Features, handle: torch.Tensor, target: torch.Tensor, r_m: int) -> torch.Tensor:
    """The pull on one handle, eq. 3 without the mask term: the patch one step ahead shall look like the patch here.

    Args:
        features: `(1, C, rows, cols)`.
        handle: `(2,)`, row and column.
        target: `(2,)`, another cell than `handle`.
        r_m: radius of the patch; it is cut at the border of the grid.

    Returns:
        (2·r_m + 1)² × the mean absolute difference of the two patches; only the patch ahead carries gradients.
    """
    direction = (target - handle) / (target - handle).norm()
    patch = around(handle, r_m, features.shape)
    # The patch ahead reaches one cell farther.
    reach = around(handle, r_m + 1, features.shape)
    window = window_of(features, *reach)
    (top, bottom), (left, right) = (
        (cells.start - wider.start, cells.stop - wider.start) for cells, wider in zip(patch, reach, strict=True)
    )
    rows, cols = (
        (torch.arange(cells.start, cells.stop, device=handle.device) + step - wider.start).to(
            window.device, non_blocking=True
        )
        for cells, wider, step in zip(patch, reach, direction, strict=True)
    )
    here = window[:, :, top:bottom, left:right].detach()
    return (2 * r_m + 1) ** 2 * F.l1_loss(read_bilinear(window, rows, cols), here)


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


def nearest_feature(features: Features, reference: torch.Tensor, handle: torch.Tensor, r_t: int) -> torch.Tensor:
    """Point tracking, eq. 5: the cell around the handle whose feature is nearest to a reference in L1.

    Args:
        features: `(1, C, rows, cols)`.
        reference: `(C,)`.
        handle: `(2,)`, the centre of the search.
        r_t: radius of the search; it is cut at the border of the grid.

    Returns:
        `(2,)`, row and column of the nearest cell; of equally near ones the first in reading order.
    """
    return nearest_features(features, [reference], handle[None], r_t)[0]


def nearest_features(
    features: Features, references: Sequence[torch.Tensor], handles: torch.Tensor, r_t: int
) -> torch.Tensor:
    """`nearest_feature` for each of `N` references `(C,)` and handles `(N, 2)`, with the device waited for once."""
    places = [around(handle, r_t, features.shape) for handle in handles]
    best = [
        (window_of(features, *place)[0] - reference[:, None, None]).abs().sum(dim=0).argmin()
        for place, reference in zip(places, references, strict=True)
    ]
    found = [
        (rows.start + int(index) // len(cols), cols.start + int(index) % len(cols))
        for (rows, cols), index in zip(places, torch.stack(best).cpu(), strict=True)
    ]
    return torch.tensor(found).to(handles)


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
