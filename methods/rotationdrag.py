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

import cv2
import numpy as np
import torch
import torchvision.transforms.functional as TF
from skimage.draw import line

from methods.dragdiffusion import track_initial_features
from methods.latent_drag import (
    LatentDragSettings,
    Tracker,
    drag_result,
    mask_tensor,
    nearest_feature,
    optimise_latent,
)
from rotationbench.diffusion.core import StableDiffusion, grid_features
from rotationbench.diffusion.lora import LoraSettings, attached_lora
from rotationbench.method import DragResult, Progress, no_progress
from rotationbench.points import GridPoints
from rotationbench.rotation import turn_between, turn_points
from rotationbench.sample import DragSample, resize_mask
from rotationbench.settings import check_between, check_choice, check_not_negative, check_positive

ROTATIONS = ("paper", "released")
PIVOT_ASSIGNMENTS = ("shared", "in_order")
BANK_SPACINGS = (0.01, 180.0)
"""Degrees between pictures of a bank, smallest and largest; a finer one would hold more than anyone inverts."""


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
        rotation_bank: spacing in degrees of a bank of rotated pictures that are inverted before the drag, from which
            tracking reads the nearest; None inverts each angle when it occurs, which is exact.
        rotation_batch: how many rotated pictures are inverted at once; more is faster on a GPU and takes more memory.

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
    rotation_bank: float | None = None
    rotation_batch: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative(self, "min_angle")
        check_positive(self, "rotation_batch")
        if self.rotation_bank is not None:
            check_between(self, *BANK_SPACINGS, "rotation_bank")
        check_choice(self, ROTATIONS, "rotation")
        check_choice(self, PIVOT_ASSIGNMENTS, "pivot_assignment")

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
            if self.rotation_bank is not None:
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
                skip=partial(same_direction, targets=targets.rc.to(core.device), axes=axis.rc.to(core.device)),
                background=background,
                progress=progress,
            )
            edited = core.decode(core.sample_back(inverted, drag.latents, context, steps))

        recorded = [*drag.supervised, drag.final]
        return drag_result(edited, inverted, drag, handles, targets, recorded, axis)


# --- the axis of rotation -------------------------------------------------------------------------------------------


def rotation_axes(sample: DragSample, pivot_assignment: str = "shared") -> GridPoints:
    """The axis that each handle turns about, in cells of the supervision grid.

    Explicit pivots come from the pairs whose source and target coincide. What they do not cover is derived: see
    `derived_axis`.

    Args:
        sample: the sample, with `N` pairs that are dragged.
        pivot_assignment: `"shared"` or `"in_order"`; see `RotationDrag`.

    Returns:
        `N` points, in the order of the handles.
    """
    dragged = ~sample.is_pivot
    handles, targets = sample.sources[dragged], sample.targets[dragged]
    pivots = sample.sources[~dragged].to_grid(sample.size).rc
    count = len(handles)
    if len(pivots) == 1 and pivot_assignment == "shared":
        return GridPoints(pivots.expand(count, 2).clone())
    height, width = sample.size
    mask = resize_mask(sample.mask, (height // 2, width // 2))
    if mask is None:
        mask = np.zeros((height // 2, width // 2), dtype=bool)
    handle_cells = handles.to_grid(sample.size).rc
    # The direction is that of the points as given: rounded to cells, a short drag may have none.
    directions = torch.from_numpy((targets.xy - handles.xy)[:, ::-1].copy())
    axes = [
        pivots[index] if index < len(pivots) else derived_axis(mask, handle_cells[index], directions[index])
        for index in range(count)
    ]
    return GridPoints(torch.stack(axes))


def derived_axis(mask: np.ndarray, handle: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """The axis that a mask implies for a handle, section II-B of the paper.

    It is the farthest point from the handle on the line through it perpendicular to the drag, strictly inside the
    contour of the handle's mask component; the line is cut at the component's bounding box.

    A handle outside every bounding box belongs to the component nearest to it. When no point of the line lies inside
    the contour, the axis is the component's centre of mass. An empty or full mask implies the centre of the grid.

    Args:
        mask: bool `(rows, cols)` on the supervision grid, True where the picture may change.
        handle: `(2,)`, row and column.
        direction: `(2,)`, row and column of target − handle; any length but zero.

    Returns:
        `(2,)` float32, row and column.
    """
    rows, cols = mask.shape
    if not mask.any() or mask.all():
        return torch.tensor([rows // 2, cols // 2], dtype=torch.float32)
    contour = _component_of(mask, handle)
    left, top, width, height = cv2.boundingRect(contour)
    row, col = (int(value) for value in handle)

    across = np.array([float(direction[1]), -float(direction[0])])
    across /= np.linalg.norm(across)
    reach = rows + cols
    ends = [np.array([row, col]) + sign * reach * across for sign in (-1, 1)]
    (row_a, col_a), (row_b, col_b) = (np.round(end).astype(int) for end in ends)
    inside_box, start, end = cv2.clipLine(
        (left, top, width, height), (int(col_a), int(row_a)), (int(col_b), int(row_b))
    )
    candidates = [
        (y, x)
        for y, x in (zip(*line(*start[::-1], *end[::-1]), strict=True) if inside_box else [])
        if cv2.pointPolygonTest(contour, (float(x), float(y)), measureDist=False) > 0
    ]
    if candidates:
        axis = max(candidates, key=lambda cell: math.dist(cell, (row, col)))
        return torch.tensor(axis, dtype=torch.float32)
    moments = cv2.moments(contour)
    if moments["m00"] > 0:
        return torch.tensor([moments["m01"] / moments["m00"], moments["m10"] / moments["m00"]]).round().float()
    return torch.tensor([top + height // 2, left + width // 2], dtype=torch.float32)


def _component_of(mask: np.ndarray, handle: torch.Tensor) -> np.ndarray:
    """The outer contour of the mask component whose bounding box holds the handle, or else of the nearest one."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    row, col = (float(value) for value in handle)

    def distance(contour: np.ndarray) -> tuple[bool, float]:
        left, top, width, height = cv2.boundingRect(contour)
        outside_box = not (left <= col < left + width and top <= row < top + height)
        # pointPolygonTest is positive inside, so that a component around the handle beats one beside it.
        return outside_box, -cv2.pointPolygonTest(contour, (col, row), measureDist=True)

    return min(contours, key=distance)


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
        spacing = self._spacing()
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
        if missing and self.settings.rotation_bank is not None:
            missing = self._with_neighbours(missing)
        self._add(missing)
        return [self._by_angle[angle] for angle in used]

    def _spacing(self) -> float:
        if self.settings.rotation_bank is None:
            raise ValueError("Expected method.rotation_bank to be set, got None.")
        return self.settings.rotation_bank

    def _entry(self, angle: float) -> float:
        """The angle under which `angle` is found: the nearest of the bank, or itself."""
        if self.settings.rotation_bank is None:
            return angle
        return round(angle / self._spacing()) * self._spacing()

    def _with_neighbours(self, missing: list[float]) -> list[float]:
        """Fill the batch with the angles that a handle which went beyond the expected arc is likely to meet next."""
        spacing = self._spacing()
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
            latents = self.core.invert(clean, self.context, self.steps)
            features = self.core.features(
                latents, self.core.drag_timestep(self.steps), self.context, self.settings.feature_index
            )
            for index, angle in enumerate(batch):
                # One picture's features at a time: on the grid they are many times larger than in the UNet.
                grid = grid_features(features[index : index + 1], size)
                cells = self._rotated_cells(angle, grid.shape[2], grid.shape[3])
                self._by_angle[angle] = grid[0, :, cells[:, 0], cells[:, 1]].T.clone()

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
    initial_features: torch.Tensor,
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
    track_unrotated = track_initial_features(initial_features, handles.rc, settings.r_t)

    def track(features: torch.Tensor, current: torch.Tensor) -> torch.Tensor:
        angles = _turns(current.cpu(), handles.rc, axis.rc)
        moved = track_unrotated(features, current)
        turned = [index for index, angle in enumerate(angles) if abs(angle) > settings.min_angle]
        references = rotated.at([angles[index] for index in turned])
        for index, reference in zip(turned, references, strict=True):
            moved[index] = nearest_feature(features, reference[index], current[index], settings.r_t)
        return moved

    return track
