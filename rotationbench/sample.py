"""`DragSample`: one picture with what is to be dragged where."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np

from rotationbench.points import ImagePoints


@dataclass(frozen=True, eq=False)
class SampleMeta:
    """What is known about a sample beyond the edit itself; every field may be unknown (None).

    Args:
        split: `"real"` or `"generated"`.
        category: the kind of object or edit, for tables by category.
        licence: SPDX name or a sentence.
        source: where the picture came from.
        pivot: `(x, y)` in image pixels, the centre of the wanted rotation.
        angle: wanted turn in degrees; positive from +x to +y, which is clockwise on the screen.
        difficulty: free text, such as `"easy"`.
        object_mask: bool `(H, W)`, the object before the edit.
        object_mask_target: bool `(H, W)`, the object after the exact edit.
        extra: everything else that `meta.json` holds.
    """

    split: str | None = None
    category: str | None = None
    licence: str | None = None
    source: str | None = None
    pivot: tuple[float, float] | None = None
    angle: float | None = None
    difficulty: str | None = None
    object_mask: np.ndarray | None = None
    object_mask_target: np.ndarray | None = None
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class DragSample:
    """One picture, the region that may change, a prompt and the pairs of points to be dragged.

    Args:
        name: the sample's name, unique in its data set and usable as a folder name.
        image: uint8 `(H, W, 3)`, RGB.
        prompt: what the picture shows; may be empty.
        sources: `N` source points in image pixels, pivot pairs included.
        targets: `N` target points in image pixels, in the order of `sources`.
        mask: bool `(H, W)`, True where the picture may change; None when there is no mask.
        target: uint8 `(H, W, 3)`, the exact result, when it is known.
        meta: what else is known about the sample.
        pix_step: the step limit that the sample's file proposes; methods use their own setting.

    Raises:
        ValueError: when shapes or dtypes do not fit together.
    """

    name: str
    image: np.ndarray
    prompt: str
    sources: ImagePoints
    targets: ImagePoints
    mask: np.ndarray | None = None
    target: np.ndarray | None = None
    meta: SampleMeta = field(default_factory=SampleMeta)
    pix_step: int | None = None

    def __post_init__(self) -> None:
        if self.image.dtype != np.uint8 or self.image.ndim != 3 or self.image.shape[2] != 3:
            raise ValueError(f"Expected image uint8 (H, W, 3), got {self.image.dtype} {self.image.shape}.")
        if len(self.sources) != len(self.targets):
            raise ValueError(f"Expected as many targets as sources, got {len(self.targets)} and {len(self.sources)}.")
        for label, array, shape, dtype in (
            ("mask", self.mask, self.image.shape[:2], np.bool_),
            ("target", self.target, self.image.shape, np.uint8),
            ("object_mask", self.meta.object_mask, self.image.shape[:2], np.bool_),
            ("object_mask_target", self.meta.object_mask_target, self.image.shape[:2], np.bool_),
        ):
            if array is not None and (array.shape != shape or array.dtype != dtype):
                raise ValueError(f"Expected {label} {np.dtype(dtype)} {shape}, got {array.dtype} {array.shape}.")

    @property
    def size(self) -> tuple[int, int]:
        """`(height, width)` in pixels."""
        return self.image.shape[0], self.image.shape[1]

    @property
    def is_pivot(self) -> np.ndarray:
        """Bool `(N,)`: True for the pairs whose source and target coincide."""
        return (self.sources.xy == self.targets.xy).all(axis=1)

    @property
    def digest(self) -> str:
        """SHA-256 of everything a method can see: picture, mask, prompt and points, but not the name or metadata."""
        digest = hashlib.sha256()
        for array in (self.image, self.mask, self.sources.xy, self.targets.xy):
            if array is None:
                digest.update(b"none")
            else:
                digest.update(repr((array.shape, array.dtype.str)).encode())
                digest.update(np.ascontiguousarray(array).tobytes())
        digest.update(self.prompt.encode())
        return digest.hexdigest()

    def resized(self, size: tuple[int, int]) -> DragSample:
        """The sample at `size = (height, width)`: pictures by area or bicubic, masks by nearest, points too."""
        if size == self.size:
            return self
        meta = replace(
            self.meta,
            pivot=None
            if self.meta.pivot is None
            else tuple(ImagePoints.of([self.meta.pivot]).rescaled(self.size, size).xy[0].tolist()),
            object_mask=resize_mask(self.meta.object_mask, size),
            object_mask_target=resize_mask(self.meta.object_mask_target, size),
        )
        return replace(
            self,
            image=resize_image(self.image, size),
            mask=resize_mask(self.mask, size),
            target=None if self.target is None else resize_image(self.target, size),
            sources=self.sources.rescaled(self.size, size),
            targets=self.targets.rescaled(self.size, size),
            meta=meta,
        )


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`image` uint8 `(H, W, 3)` at `size = (height, width)`: by area when it shrinks, bicubic when it grows."""
    if image.shape[:2] == size:
        return image
    shrinks = size[0] * size[1] < image.shape[0] * image.shape[1]
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def resize_mask(mask: np.ndarray | None, size: tuple[int, int]) -> np.ndarray | None:
    """`mask` bool `(H, W)` at `size = (height, width)`, by nearest; None stays None."""
    if mask is None or mask.shape == size:
        return mask
    return cv2.resize(mask.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT).astype(bool)
