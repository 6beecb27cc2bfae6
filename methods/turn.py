"""Turn: the object turned about the pivot in pixel space, a baseline without a model.

What is asked for is read from the points as RotationDrag reads it; the object is cut out by its mask, moved, and pasted
onto the picture with the place it left filled from around it.

Points are `(x, y)` in pixels. Angles are positive from +x to +y, clockwise on the screen because y points down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import cv2
import numpy as np
import torch

from methods.rotation_axis import rotation_axes
from rotationbench.method import DragResult, Progress, no_progress
from rotationbench.points import ImagePoints
from rotationbench.sample import DragSample
from rotationbench.settings import check_not_negative, check_positive

if TYPE_CHECKING:
    from rotationbench.diffusion.core import StableDiffusion

VISIBLE = 1 / 255
"""A pixel that shows less of the object than this does not show it."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """Turns the object as its points ask: rigidly with one handle, by the similarity that fits several best.

    The object is the sample's object mask; without one it is what may change, and without a mask the whole picture. An
    empty mask counts as none.

    Args:
        feather: standard deviation in pixels of the blur that softens the object's edge; 0 leaves it as sharp as
            bilinear interpolation does.
        inpaint_radius: the neighbourhood in pixels from which each pixel of the hole is filled.

    Raises:
        ConfigError: when a value lies outside its range.
    """

    version: ClassVar[int] = 1
    needs_model: ClassVar[bool] = False
    reads_metadata: ClassVar[bool] = True

    feather: float = 0.7
    inpaint_radius: float = 3.0

    def __post_init__(self) -> None:
        check_not_negative(self, "feather")
        check_positive(self, "inpaint_radius")

    def edit(
        self, core: StableDiffusion | None, sample: DragSample, *, seed: int = 0, progress: Progress = no_progress
    ) -> DragResult:
        """Turn the object; see `DragMethod.edit`. Neither the core nor the seed has a part in it."""
        dragged = ~sample.is_pivot
        centres = turning_centres(sample)
        # Without a centre, pivot pairs are pairs that hold still as well as they can.
        pairs = slice(None) if centres is None else dragged
        centre = None if centres is None or len(centres) == 0 else centres[0]
        motion = wanted_motion(sample.sources.xy[pairs], sample.targets.xy[pairs], centre)
        picture = move_object(sample.image, object_of(sample), motion, self.feather, self.inpaint_radius)

        sources, targets = sample.sources[dragged], sample.targets[dragged]
        ends = ImagePoints(sources.xy @ motion[:, :2].T + motion[:, 2])
        progress(0, 1, 0.0)
        return DragResult(
            edited=torch.from_numpy(picture).permute(2, 0, 1)[None].to(torch.float32) / 255,
            trajectory=[points.to_unrounded_grid(sample.size) for points in (sources, ends)],
            targets=targets.to_unrounded_grid(sample.size),
            steps=1,
            converged=None,
            axis=None if centres is None else ImagePoints(centres).to_unrounded_grid(sample.size),
        )


def object_of(sample: DragSample) -> np.ndarray:
    """Bool `(H, W)`: the object, or else what may change, or else everything."""
    for mask in (sample.meta.object_mask, sample.mask):
        if mask is not None and mask.any():
            return mask
    return np.ones(sample.size, dtype=bool)


def turning_centres(sample: DragSample) -> np.ndarray | None:
    """What each handle turns about, `(N, 2)`; None where the pairs are left to decide it themselves.

    The pivot is the sample's only pivot pair, or else the one in its metadata. A single handle without either turns
    about the axis that RotationDrag derives for it. Several handles without a pivot need none, and several pivot pairs
    cannot all be centres.
    """
    dragged = ~sample.is_pivot
    count = int(dragged.sum())
    pivots = sample.sources.xy[~dragged]
    if len(pivots) == 0 and sample.meta.pivot is not None:
        pivots = np.array([sample.meta.pivot])
    if len(pivots) == 1:
        return np.repeat(pivots, count, axis=0)
    if len(pivots) == 0 and count == 1:
        return rotation_axes(sample).to_image(sample.size).xy
    return None


def wanted_motion(sources: np.ndarray, targets: np.ndarray, centre: np.ndarray | None) -> np.ndarray:
    """The similarity that takes sources nearest to their targets in the least-squares sense (Umeyama, 1991).

    Given a centre, the similarity keeps it in place. A single source then turns by the angle between its direction and
    its target's, and nothing grows: a handle's way off its circle is no wish for another size. Where no direction is
    to be had, because a source or its target lies on the centre or sources coincide, nothing turns.

    Args:
        sources: `(N, 2)`.
        targets: `(N, 2)`.
        centre: `(2,)`, or None.

    Returns:
        `(2, 3)`, the matrix that takes `(x, y, 1)` to where it goes; the identity for no sources.
    """
    if len(sources) == 0:
        return np.eye(2, 3)
    before, after = (points[:, 0] + 1j * points[:, 1] for points in (sources, targets))
    if centre is None:
        start, end = before.mean(), after.mean()
    else:
        start = end = complex(*centre)
    spread = float((np.abs(before - start) ** 2).sum())
    factor = complex((np.conj(before - start) * (after - end)).sum())
    if spread == 0 or factor == 0:
        factor = 1 + 0j
    else:
        factor /= abs(factor) if centre is not None and len(sources) == 1 else spread
    shift = end - factor * start
    return np.array([[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]])


def move_object(
    image: np.ndarray, mask: np.ndarray, motion: np.ndarray, feather: float, inpaint_radius: float
) -> np.ndarray:
    """The picture with its object moved, and the place it left filled by fast marching (Telea, 2004).

    Args:
        image: uint8 `(H, W, 3)`.
        mask: bool `(H, W)`, the object.
        motion: `(2, 3)`, see `wanted_motion`.
        feather: see `Turn`.
        inpaint_radius: see `Turn`.

    Returns:
        float32 `(H, W, 3)` in [0, 255].
    """
    size = image.shape[1::-1]
    opacity: np.ndarray = mask.astype(np.float32)
    if feather > 0:
        opacity = cv2.GaussianBlur(opacity, (0, 0), feather)
    moved = cv2.warpAffine(
        image.astype(np.float32), motion, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    cover = cv2.warpAffine(opacity, motion, size, flags=cv2.INTER_LINEAR)[..., None]
    seen, hole = image, opacity > VISIBLE
    if hole.all():
        # Nothing is seen of what lies behind: what the object uncovers continues the object.
        seen, hole = moved.round().astype(np.uint8), cover[..., 0] < 1 - VISIBLE
    ground = cv2.inpaint(seen, hole.astype(np.uint8), inpaint_radius, cv2.INPAINT_TELEA)
    return cover * moved + (1 - cover) * ground
