"""RotationDrag (Luo et al., arXiv 2401.06442): point tracking by the features of the rotated picture.

Reads as section II-C of the paper: find the axis of rotation, measure the angle that a handle has turned, invert the
source picture rotated by that angle, and look for the handle's feature as it appears there.

Angles are those of `rotationbench.rotation`: degrees, clockwise on the screen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import numpy as np
import torch
import torchvision.transforms.functional as TF

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
from methods.rotation_axis import rotation_axes
from rotationbench.diffusion.core import StableDiffusion
from rotationbench.diffusion.grid import FeatureGrid
from rotationbench.diffusion.lora import LoraSettings, attached_lora
from rotationbench.errors import ConfigError
from rotationbench.method import DragResult, Progress, no_progress
from rotationbench.points import GridPoints
from rotationbench.rotation import turn_between, turn_points
from rotationbench.sample import DragSample
from rotationbench.settings import check_between, check_choice, check_not_negative, check_positive

ROTATIONS = ("paper", "released")
PIVOT_ASSIGNMENTS = ("shared", "in_order")
SPACINGS = (0.01, 180.0)
"""Degrees between rotated pictures, smallest and largest; a finer bank would hold more than anyone inverts."""
AUTO = "auto"
AUTO_SPACING = 3.0


@dataclass(frozen=True, kw_only=True)
class RotationDrag(LatentDragSettings):
    """RotationDrag; the settings of `LatentDragSettings`, with the paper's step limit and LoRA steps, and these.

    Args:
        rotation: `"paper"` rotates the source picture with the drag; `"released"` rotates it the other way round, as
            the authors' published program does.
        min_angle: degrees; a handle that has turned no more than this is tracked as DragDiffusion does. The paper
            names no threshold, the published program has 5.
        pivot_assignment: `"shared"` lets a single explicit pivot serve every handle; `"in_order"` gives explicit
            pivots to handles one by one, as the published program does. Handles left without one get a derived axis.
        background_without_mask: keep the background term on when there is no mask, as the published program does,
            which freezes the whole picture.
        rotation_step: degrees; angles are rounded to multiples of it, each of which is inverted when it first occurs.
            None rounds nothing, which is exact. It saves evaluations on any device, and the time of them on a CPU.
        rotation_bank: the same, with the angles that the drag is expected to meet inverted before it in batches, which
            a GPU does faster; degrees, or None for no bank. `"auto"` rounds to `rotation_step`, or to 3° without one,
            and inverts ahead on CUDA only.
        rotation_batch: how many rotated pictures are inverted at once; more is faster on a GPU and takes more memory.
        rotation_inversion_steps: evaluations that the inversion of a rotated picture takes, at most as many as that of
            the picture itself; fewer are coarser. None takes as many.

    Raises:
        ConfigError: when a value lies outside its range.
    """

    version: ClassVar[int] = 1

    max_steps: int = 160
    lora: LoraSettings | None = field(default_factory=lambda: LoraSettings(steps=60))
    rotation: str = "paper"
    min_angle: float = 5.0
    pivot_assignment: str = "shared"
    background_without_mask: bool = False
    rotation_step: float | None = None
    rotation_bank: float | int | str | None = None
    rotation_batch: int = 32
    rotation_inversion_steps: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative(self, "min_angle")
        check_positive(self, "rotation_batch")
        if isinstance(self.rotation_bank, str):
            check_choice(self, (AUTO,), "rotation_bank")
        elif self.rotation_bank is not None:
            check_between(self, *SPACINGS, "rotation_bank")
            if self.rotation_step is not None:
                raise ConfigError(
                    f"method.rotation_step: expected null beside a bank of {self.rotation_bank}°, got "
                    f"{self.rotation_step}; method.rotation_bank={AUTO} takes its spacing from it."
                )
        if self.rotation_step is not None:
            check_between(self, *SPACINGS, "rotation_step")
        if self.rotation_inversion_steps is not None:
            check_positive(self, "rotation_inversion_steps")
        check_choice(self, ROTATIONS, "rotation")
        check_choice(self, PIVOT_ASSIGNMENTS, "pivot_assignment")

    def spacing(self) -> float | None:
        """The degrees between rotated pictures; None inverts each angle as it is."""
        if self.rotation_bank is None:
            return self.rotation_step
        if isinstance(self.rotation_bank, str):
            return AUTO_SPACING if self.rotation_step is None else self.rotation_step
        return self.rotation_bank

    def inverts_ahead(self, device: torch.device) -> bool:
        """Whether rotated pictures are inverted before they are needed when computing on `device`."""
        return device.type == "cuda" if self.rotation_bank == AUTO else self.rotation_bank is not None

    def edit(
        self, core: StableDiffusion, sample: DragSample, *, seed: int = 0, progress: Progress = no_progress
    ) -> DragResult:
        """Invert the picture, drag its latent with rotation-aware tracking, and sample back; see `DragMethod.edit`."""
        image = core.image_tensor(sample.image)
        dragged = ~sample.is_pivot
        handles = sample.sources[dragged].to_grid(sample.size)
        targets = sample.targets[dragged].to_grid(sample.size)
        axis = rotation_axes(sample, self.pivot_assignment)
        background = mask_tensor(sample, core.device)
        if background is None and self.background_without_mask:
            background = torch.zeros(1, 1, *sample.size, device=core.device)
        steps = core.actual_steps(self.inversion_strength)

        with attached_lora(core, image, sample.prompt, self.lora, seed):
            context = core.embed(sample.prompt)
            inverted = core.invert_image(image, sample.prompt, steps)
            rotated = RotatedReferences(core, image, context, steps, handles, self)
            if self.inverts_ahead(core.device):
                with core.cost.phase("bank", core.device):
                    rotated.fill(_turns(targets.rc, handles.rc, axis.rc))
            drag = optimise_latent(
                core,
                inverted,
                context,
                core.drag_timestep(steps),
                sample,
                handles,
                targets,
                self,
                make_tracker=lambda features: track_rotated_features(features, handles, axis, rotated, self),
                skip=partial(same_direction, targets=targets.rc, axes=axis.rc),
                background=background,
                progress=progress,
            )
            edited = core.decode(core.sample_back(inverted, drag.latents, context, steps))

        recorded = [*drag.supervised, drag.final]
        return drag_result(edited, inverted, drag, handles, targets, recorded, axis)


# --- the angle ------------------------------------------------------------------------------------------------------


def turn(current: torch.Tensor, start: torch.Tensor, axis: torch.Tensor) -> float:
    """θ, the angle by which a handle has turned about its axis, in degrees within ±180.

    Args:
        current: `(2,)`, where the handle is, row and column.
        start: `(2,)`, where it was.
        axis: `(2,)`, what it turns about. A handle that is or was on its axis has not turned.
    """
    if torch.equal(current, axis) or torch.equal(start, axis):
        return 0.0
    return turn_between(*((point - axis).flip(0).tolist() for point in (start, current)))


def _turns(current: torch.Tensor, starts: torch.Tensor, axes: torch.Tensor) -> list[float]:
    return [turn(*points) for points in zip(current, starts, axes, strict=True)]


def same_direction(handles: torch.Tensor, targets: torch.Tensor, axes: torch.Tensor) -> torch.Tensor:
    """Which handles lie in exactly the same direction from their axis as their target: they have turned enough.

    Decided on whole cells by integers, because two angles that are equal on paper need not be equal after rounding.
    What lies on the axis has no direction and is never in the same one.

    Args:
        handles: `(N, 2)` whole cells, row and column.
        targets: `(N, 2)` whole cells.
        axes: `(N, 2)` whole cells.

    Returns:
        Bool `(N,)`.
    """
    spokes, goals = (handles - axes).round().long(), (targets - axes).round().long()
    cross = spokes[:, 0] * goals[:, 1] - spokes[:, 1] * goals[:, 0]
    along = (spokes * goals).sum(dim=1)
    return (cross == 0) & (along > 0)


# --- the features of the rotated picture ----------------------------------------------------------------------------


class RotatedReferences:
    """The handles' features as they look in the rotated source picture, by angle.

    They depend on the angle alone, so that each angle is inverted once and angles that are wanted together are
    inverted in one batch. Of every inversion only the features at the handles are kept.

    Args:
        core: the diffusion model.
        image: the source picture `(1, 3, H, W)` in [-1, 1].
        context: text embedding `(1, 77, C)`.
        steps: A, the steps of the inversion.
        handles: the initial handles.
        settings: RotationDrag's settings.
    """

    def __init__(
        self,
        core: StableDiffusion,
        image: torch.Tensor,
        context: torch.Tensor,
        steps: int,
        handles: GridPoints,
        settings: RotationDrag,
    ) -> None:
        self.core, self.image, self.context, self.steps = core, image, context, steps
        self.handles, self.settings = handles, settings
        self._by_angle: dict[float, torch.Tensor] = {}

    def fill(self, ends: Sequence[float]) -> None:
        """Invert ahead for every angle of the bank between zero and each of `ends`, in degrees."""
        spacing = self._rounded_to()
        wanted: set[float] = set()
        for end in ends:
            count = math.ceil(abs(end) / spacing)
            wanted.update(math.copysign(index * spacing, end) for index in range(1, count + 1))
        # Angles that round to less than the threshold are never looked up.
        self._add([angle for angle in sorted(wanted) if abs(angle) + spacing / 2 > self.settings.min_angle])

    def at(self, angles: Sequence[float]) -> list[torch.Tensor]:
        """Reference features `(N, C)` of all handles at each angle, in degrees."""
        used = [self._entry(angle) for angle in angles]
        missing = sorted({angle for angle in used if angle not in self._by_angle})
        if missing and self.settings.inverts_ahead(self.core.device):
            missing = self._with_neighbours(missing)
        self._add(missing)
        return [self._by_angle[angle] for angle in used]

    def _rounded_to(self) -> float:
        spacing = self.settings.spacing()
        if spacing is None:
            raise ValueError("Expected method.rotation_bank or method.rotation_step to be set, got None.")
        return spacing

    def _entry(self, angle: float) -> float:
        """The angle under which `angle` is found: the nearest one that pictures are rotated by, or itself."""
        spacing = self.settings.spacing()
        return angle if spacing is None else round(angle / spacing) * spacing

    def _with_neighbours(self, missing: list[float]) -> list[float]:
        """Fill the batch with the angles that a handle which went beyond the expected arc is likely to meet next."""
        spacing = self._rounded_to()
        wanted = dict.fromkeys(missing)
        for distance in range(1, self.settings.rotation_batch):
            for angle in missing:
                for neighbour in (angle + distance * spacing, angle - distance * spacing):
                    entry = self._entry(neighbour)
                    if len(wanted) < self.settings.rotation_batch and entry not in self._by_angle and abs(entry) <= 180:
                        wanted[entry] = None
        return sorted(wanted)

    @torch.no_grad()
    def _add(self, angles: Sequence[float]) -> None:
        size = self.image.shape[2], self.image.shape[3]
        for first in range(0, len(angles), self.settings.rotation_batch):
            batch = angles[first : first + self.settings.rotation_batch]
            # One picture at a time: the encoder works at full size and would need more memory than the UNet.
            clean = torch.cat([self.core.encode(self._rotated_picture(angle)) for angle in batch])
            latents = self.core.invert(
                clean, self.context, self.steps, evaluations=self.settings.rotation_inversion_steps
            )
            features = self.core.features(
                latents, self.core.drag_timestep(self.steps), self.context, self.settings.feature_index
            )
            for index, angle in enumerate(batch):
                grid = FeatureGrid(features[index : index + 1], size)
                cells = self._rotated_cells(angle, grid.shape[2], grid.shape[3])
                self._by_angle[angle] = torch.stack([feature_at(grid, cell) for cell in cells])

    def _rotated_picture(self, angle: float) -> torch.Tensor:
        # torchvision counts angles counter-clockwise.
        clockwise = angle if self.settings.rotation == "paper" else -angle
        return TF.rotate(self.image, -clockwise)

    def _rotated_cells(self, angle: float, rows: int, cols: int) -> torch.Tensor:
        """The cells `(N, 2)` of the initial handles in the rotated picture, cut off and kept on the grid."""
        clockwise = angle if self.settings.rotation == "paper" else -angle
        turned = turn_points(self.handles.rc.flip(1).numpy(), (cols / 2, rows / 2), clockwise)[:, ::-1]
        return torch.from_numpy(turned.clip(0, [rows - 1, cols - 1]).astype(np.int64))


def track_rotated_features(
    initial_features: Features,
    handles: GridPoints,
    axis: GridPoints,
    rotated: RotatedReferences,
    settings: RotationDrag,
) -> Tracker:
    """RotationDrag's tracker: section II-C of the paper.

    Args:
        initial_features: features `(1, C, rows, cols)` of the untouched latent, for handles that have hardly turned.
        handles: the initial handles.
        axis: what each of them turns about.
        rotated: the features of the rotated picture.
        settings: RotationDrag's settings.
    """
    unrotated = [feature_at(initial_features, handle) for handle in handles.rc]

    def track(features: Features, current: torch.Tensor) -> torch.Tensor:
        angles = _turns(current, handles.rc, axis.rc)
        turned = [index for index, angle in enumerate(angles) if abs(angle) > settings.min_angle]
        references = list(unrotated)
        for index, reference in zip(turned, rotated.at([angles[index] for index in turned]), strict=True):
            references[index] = reference[index]
        return nearest_features(features, references, current, settings.r_t)

    return track
