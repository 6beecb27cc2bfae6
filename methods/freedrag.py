"""FreeDrag (Ling et al., arXiv 2307.04684): drag by adaptive feature templates and a line search, without tracking.

Reads as section 3 of the paper: each handle has a template of its features; a round places every handle on the line to
its target, pulls the features there towards the template by a few gradient steps, and then updates the template by how
well that went. Two published programs do this on a diffusion latent; both are here, see `FreeDrag.variant`.

Points are rows and columns of the supervision grid, with fractions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
import torch.nn.functional as F

from methods.latent_drag import (
    FeaturesAndPrevious,
    LatentDrag,
    drag_result,
    features_and_previous,
    mask_tensor,
    read_bilinear,
)
from methods.latent_settings import LatentSettings
from rotationbench.diffusion.core import StableDiffusion
from rotationbench.diffusion.lora import LoraSettings, attached_lora
from rotationbench.method import DragResult, Progress, no_progress
from rotationbench.points import GridPoints
from rotationbench.sample import DragSample
from rotationbench.settings import check_choice, check_not_negative, check_positive

CANDIDATES = 10
STEPS_PER_ROUND = 5
STEPS_AFTER_ARRIVAL = 11
ARRIVAL_DISTANCE = 0.5


@dataclass(frozen=True)
class Variant:
    """In what the two published programs differ.

    Args:
        l_expected: default of l, the feature difference that one placement should make.
        d_max: default of the longest way of one placement, in cells.
        offsets: rows, and likewise columns, of a template around its handle, in cells.
        settled_distance: a handle nearer to its target than this, in cells, may settle.
        settled_loss: share of the threshold on the loss below which a handle settles and a round ends early.
        holds_features: the background term compares features; otherwise the latents one step cleaner.
        ends_after_arrival: the drag ends some steps after the last round that had every handle at its target.
    """

    l_expected: float
    d_max: float
    offsets: tuple[float, ...]
    settled_distance: float
    settled_loss: float
    holds_features: bool
    ends_after_arrival: bool


VARIANTS = {
    "rotationdrag": Variant(
        l_expected=0.8,
        d_max=3.0,
        offsets=(-1.5, 0.0, 1.5),
        settled_distance=ARRIVAL_DISTANCE,
        settled_loss=0.5,
        holds_features=True,
        ends_after_arrival=True,
    ),
    "official": Variant(
        l_expected=1.0,
        d_max=5.0,
        offsets=tuple(float(offset) for offset in range(-4, 5)),
        settled_distance=2.0,
        settled_loss=1.0,
        holds_features=False,
        ends_after_arrival=False,
    ),
}


@dataclass(frozen=True, kw_only=True)
class FreeDrag(LatentSettings):
    """FreeDrag on a diffusion latent; the settings of `LatentSettings`, with other defaults, and these.

    Pivot pairs are pairs like any other here: they have nowhere to go, but have a template, and count for stopping.

    In the variant `"rotationdrag"`, each round that has every handle at its target sets the step limit anew, eleven
    steps on, as in its program; a drag that arrives late therefore makes up to `max_steps` + 11 steps.

    Args:
        variant: `"rotationdrag"` is the program that the RotationDrag paper compares with, `"official"` the one that
            FreeDrag's authors published.
        l_expected: l, the feature difference that one placement should make; None is the variant's own.
        d_max: the longest way of one placement, in cells; None is the variant's own.
        lam: λ, the weight of the background term of the variant `"official"`.
        lam_features: the weight of the background term of the variant `"rotationdrag"`, which compares features.

    Raises:
        ConfigError: when a value lies outside its range.
    """

    version: ClassVar[int] = 2

    max_steps: int = 2000
    latent_lr: float = 0.002
    lora: LoraSettings | None = field(default_factory=lambda: LoraSettings(steps=60))
    variant: str = "rotationdrag"
    l_expected: float | None = None
    d_max: float | None = None
    lam_features: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative(self, "lam_features")
        check_choice(self, VARIANTS, "variant")
        check_positive(self, *(name for name in ("l_expected", "d_max") if getattr(self, name) is not None))

    def resolved_variant(self) -> Variant:
        """The variant, with the settings that replace its defaults."""
        variant = VARIANTS[self.variant]
        return replace(
            variant,
            l_expected=variant.l_expected if self.l_expected is None else self.l_expected,
            d_max=variant.d_max if self.d_max is None else self.d_max,
        )

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
            drag = drag_by_templates(
                core, inverted, context, core.drag_timestep(steps), sample, handles, targets, self, progress
            )
            edited = core.decode(core.sample_back(inverted, drag.latents, context, steps))

        recorded = [*drag.supervised, drag.final]
        return drag_result(edited, inverted, drag, handles, targets, recorded)


def drag_by_templates(
    core: StableDiffusion,
    inverted: torch.Tensor,
    context: torch.Tensor,
    timestep: int,
    sample: DragSample,
    handles: GridPoints,
    targets: GridPoints,
    settings: FreeDrag,
    progress: Progress,
) -> LatentDrag:
    """Optimise the latent in rounds of placing, pulling and judging until every handle has settled.

    Args:
        core: the diffusion model.
        inverted: the latent at `timestep`, `(1, C, h, w)`.
        context: text embedding `(1, 77, C)`.
        timestep: t, where the latent is optimised.
        sample: for its mask and the size of the supervision grid.
        handles: `N` initial handles.
        targets: `N` targets.
        settings: FreeDrag's settings.
        progress: told of every gradient step.
    """
    variant = settings.resolved_variant()
    low_loss = variant.settled_loss * variant.l_expected / 2
    offsets = torch.tensor(variant.offsets, device=core.device, dtype=core.latent_dtype)
    hold_background = background_term(core, sample, inverted.shape[2:], settings)
    step_back = hold_background is not None and not variant.holds_features

    def evaluate(latents: torch.Tensor) -> FeaturesAndPrevious:
        return features_and_previous(
            core, latents, context, timestep, sample.size, settings.feature_index, step_back=step_back
        )

    def template_differences(features: torch.Tensor) -> torch.Tensor:
        """Each handle's distance from its template, `(N,)`."""
        return torch.stack(
            [difference(features, point, offsets, template) for point, template in zip(current, templates, strict=True)]
        )

    goal = targets.rc.to(core.device, core.latent_dtype)
    current = handles.rc.to(core.device, core.latent_dtype)
    supervised: list[torch.Tensor] = []
    settled = torch.zeros(len(handles), dtype=torch.bool, device=core.device)
    loss_ini = torch.zeros(len(handles), device=core.device, dtype=core.latent_dtype)
    loss_end = torch.zeros(len(handles), device=core.device, dtype=core.latent_dtype)
    limit = settings.max_steps

    with core.cost.phase("drag", core.device):
        with torch.no_grad():
            initial = evaluate(inverted)
        features, _ = initial
        templates = [patch_at(features, point, offsets) for point in current]
        latents = inverted.clone().requires_grad_(True)
        optimizer = torch.optim.Adam([latents], lr=settings.latent_lr)

        while not bool(settled.all()):
            current = torch.stack(
                [
                    point
                    if settled[index]
                    else next_position(
                        features,
                        templates[index],
                        point,
                        goal[index],
                        offsets,
                        loss_ini=float(loss_ini[index]),
                        loss_end=float(loss_end[index]),
                        l_expected=variant.l_expected,
                        d_max=variant.d_max,
                    )
                    for index, point in enumerate(current)
                ]
            )
            distances = (goal - current).norm(dim=1)

            for step in range(STEPS_PER_ROUND):
                seen = evaluate(latents)
                losses = template_differences(seen[0])
                loss = losses.sum()
                if hold_background is not None:
                    loss = loss + hold_background(initial, seen)
                latents.grad = core.gradient(loss, latents)
                optimizer.step()
                progress(len(supervised), settings.max_steps, float(distances.mean()), current)
                supervised.append(current)
                losses = losses.detach()
                if step == 0:
                    loss_ini = losses
                if float(losses.max()) < low_loss or len(supervised) >= limit:
                    break
            if len(supervised) >= limit:
                break

            with torch.no_grad():
                features, _ = evaluate(latents)
            loss_end = template_differences(features)
            settled = (distances < variant.settled_distance) & (loss_end <= low_loss)
            templates = [
                update_template(
                    template, patch_at(features, point, offsets), float(end), variant.l_expected, bool(rests)
                )
                for template, point, end, rests in zip(templates, current, loss_end, settled, strict=True)
            ]
            if variant.ends_after_arrival and bool((distances < ARRIVAL_DISTANCE).all()):
                limit = min(settings.max_steps, len(supervised)) + STEPS_AFTER_ARRIVAL

    return LatentDrag(latents.detach(), supervised, supervised, current, bool(settled.all()))


def background_term(
    core: StableDiffusion, sample: DragSample, latent_size: torch.Size, settings: FreeDrag
) -> Callable[[FeaturesAndPrevious, FeaturesAndPrevious], torch.Tensor] | None:
    """The penalty on changes outside the mask, of the untouched and the current latent; None when nothing is held.

    Args:
        core: the diffusion model.
        sample: its mask is True where the picture may change.
        latent_size: `(h, w)`.
        settings: FreeDrag's settings.
    """
    mask = mask_tensor(sample, core.device)
    if mask is None:
        return None
    if VARIANTS[settings.variant].holds_features:
        height, width = sample.size
        held = F.interpolate(mask, size=(height // 2, width // 2), mode="nearest")[0, 0] == 0
        if not held.any():
            return None
        return lambda before, now: settings.lam_features * (now[0][:, :, held] - before[0][:, :, held]).abs().mean()
    may_change = F.interpolate(mask, size=latent_size, mode="nearest")

    def hold_latents(before: FeaturesAndPrevious, now: FeaturesAndPrevious) -> torch.Tensor:
        assert before[1] is not None and now[1] is not None
        return settings.lam * ((now[1] - before[1]) * (1 - may_change)).abs().mean()

    return hold_latents


def patch_at(features: torch.Tensor, point: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Features `(1, C, K, K)` on the raster of `K` `offsets` around a point; beyond the border the border's count.

    Args:
        features: `(1, C, rows, cols)`.
        point: `(2,)`, row and column.
        offsets: `(K,)`, in cells.
    """
    return read_bilinear(features, point[0] + offsets, point[1] + offsets)


def difference(
    features: torch.Tensor, point: torch.Tensor, offsets: torch.Tensor, template: torch.Tensor
) -> torch.Tensor:
    """Mean absolute difference of the features around a point from a template; see `patch_at`."""
    return (patch_at(features, point, offsets) - template).abs().mean()


def next_position(
    features: torch.Tensor,
    template: torch.Tensor,
    current: torch.Tensor,
    target: torch.Tensor,
    offsets: torch.Tensor,
    *,
    loss_ini: float,
    loss_end: float,
    l_expected: float,
    d_max: float,
) -> torch.Tensor:
    """Where a handle goes for the next round: on, nowhere, or back; section 3.3 of the paper.

    It goes on, by at most `d_max`, to where the features differ from the template by about l, when the last round
    brought it close to its template; it stays when that round at least helped; otherwise it goes back by `d_max`, and
    from there to the position most like the template within twice that. It never leaves the grid.

    Args:
        features: `(1, C, rows, cols)`, current.
        template: `(1, C, K, K)`.
        current: `(2,)`, where the handle is, row and column.
        target: `(2,)`, where it shall end.
        offsets: `(K,)`, the template's raster.
        loss_ini: the handle's difference from its template at the start of the last round.
        loss_end: the same at the end of that round.
        l_expected: l.
        d_max: in cells.

    Returns:
        `(2,)`, row and column.
    """
    if loss_end >= l_expected / 2 and loss_end < loss_ini:
        return current
    goes_on = loss_end < l_expected / 2
    start = current if goes_on else current - displacement(current, target, d_max)
    # Factor and sum are rounded as in the published programs: the candidates of a handle that has nowhere to go may
    # differ from its place by the last digit, and at |0| that digit decides the slope.
    shares = torch.arange(1, CANDIDATES + 1, device=current.device, dtype=current.dtype)[:, None] * (1 / CANDIDATES)
    furthest = start + displacement(start, target, d_max if goes_on else 2 * d_max)
    last = torch.tensor(features.shape[2:], device=current.device) - 1
    candidates = ((1 - shares) * start + shares * furthest).clamp(min=torch.zeros_like(last), max=last)
    differences = torch.stack([difference(features, candidate, offsets, template) for candidate in candidates])
    wanted = l_expected if goes_on else 0.0
    return candidates[(differences - wanted).abs().argmin()]


def displacement(start: torch.Tensor, target: torch.Tensor, longest: float) -> torch.Tensor:
    """The displacement `(2,)` from `start` towards `target`, all of it or `longest` cells."""
    remaining = (target - start).norm()
    return (longest / (remaining + 1e-8)).clamp(max=1) * (target - start)


def update_template(
    template: torch.Tensor, features: torch.Tensor, loss_end: float, l_expected: float, settled: bool
) -> torch.Tensor:
    """The template moved towards the features where the handle is, eq. 4 and 5: the more, the closer they came.

    Args:
        template: `(1, C, K, K)`.
        features: `(1, C, K, K)`.
        loss_end: their difference at the end of the round.
        l_expected: l; a difference of 0.2·l moves the template half the way, one of 0.8·l a tenth.
        settled: a settled handle takes the features as they are.
    """
    steepness, middle = math.log(9) / (0.6 * l_expected), 0.2 * l_expected
    weight = 1.0 if settled else float(torch.sigmoid(torch.tensor(steepness * (middle - loss_end))))
    return weight * features + (1 - weight) * template
