"""`DragSample`: one picture with what is to be dragged where."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any, overload

import cv2
import numpy as np
import torch

from rotationbench.names import name_fault
from rotationbench.points import ImagePoints

Point = tuple[float, float]


@dataclass(frozen=True, eq=False)
class SampleMeta:
    """What is known about a sample beyond the edit itself; every field may be unknown (None).

    Args:
        split: `"real"`, `"generated"`, or `"in_domain"` for objects that the embedded model was trained on.
        category: the kind of object or edit, for tables by category.
        licence: SPDX name or a sentence.
        source: where the picture came from.
        pivot: `(x, y)` in image pixels, the centre of the wanted rotation.
        angle: wanted turn in degrees; positive from +x to +y, which is clockwise on the screen.
        difficulty: free text, such as `"easy"`.
        object_mask: bool `(H, W)`, the object before the edit.
        object_mask_target: bool `(H, W)`, the object after the exact edit.
        extra: everything else that `meta.json` holds.
        turn_estimated: pivot and angle were estimated from where points or regions go, so that targets need not lie
            exactly where they lead.
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
    turn_estimated: bool = False


@dataclass(frozen=True, eq=False)
class Region:
    """One connected area that is edited as a whole.

    Args:
        mask: bool `(H, W)`, the area before the edit.
        task: `"rotation"`, `"transformation"` (it goes elsewhere) or `"deformation"`; None when the data set does not
            say.
        source: `(x, y)` in image pixels, where the area's handle is; None when not given.
        target: `(x, y)` in image pixels, where the handle goes.
        anchor: `(x, y)` in image pixels, the centre of the turn.
        angle: the turn in degrees, positive clockwise, within ±180.
        pairs: which of `Regions.pairs` move this area; empty when none does.
    """

    mask: np.ndarray
    task: str | None = None
    source: Point | None = None
    target: Point | None = None
    anchor: Point | None = None
    angle: float | None = None
    pairs: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Regions:
    """Areas that are dragged, for methods that drag areas and not points. What a data set does not give is None.

    Args:
        sources: bool `(H, W)`, everything that moves, before the edit: RegionDrag's source cells, Inpaint4Drag's mask
            of what deforms, ReD Bench's handle regions.
        targets: bool `(H, W)`, where it goes: RegionDrag's target cells.
        pairs: `M` sources and `M` targets in image pixels that say what goes where. They steer region methods only;
            points are measured at `DragSample.sources` and `targets`.
        cell: `(width, height)` in pixels of the rectangle that each of `pairs` moves, its top left corner at the pair's
            points: `(8, 8)` for RegionDrag's latent cells; None when a pair moves a point.
        parts: the areas one by one.

    Raises:
        ValueError: when there are not as many sources as targets.
    """

    sources: np.ndarray | None = None
    targets: np.ndarray | None = None
    pairs: tuple[ImagePoints, ImagePoints] | None = None
    cell: tuple[float, float] | None = None
    parts: tuple[Region, ...] = ()

    def __post_init__(self) -> None:
        if self.pairs is not None and len(self.pairs[0]) != len(self.pairs[1]):
            raise ValueError(f"Expected pairs of regions, got {len(self.pairs[0])} and {len(self.pairs[1])} points.")

    def masks(self) -> dict[str, np.ndarray | None]:
        """Every mask by a name of its own."""
        parts = {f"part {index}": part.mask for index, part in enumerate(self.parts)}
        return {"sources": self.sources, "targets": self.targets, **parts}

    def resized(self, old: tuple[int, int], new: tuple[int, int]) -> Regions:
        """The same areas after the picture went from `old` to `new`, both `(height, width)` in pixels."""
        parts = tuple(
            replace(
                part,
                mask=resize_mask(part.mask, new),
                source=_rescaled(part.source, old, new),
                target=_rescaled(part.target, old, new),
                anchor=_rescaled(part.anchor, old, new),
            )
            for part in self.parts
        )
        return Regions(
            sources=resize_mask(self.sources, new),
            targets=resize_mask(self.targets, new),
            pairs=None if self.pairs is None else (self.pairs[0].rescaled(old, new), self.pairs[1].rescaled(old, new)),
            cell=_rescaled(self.cell, old, new),
            parts=parts,
        )


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
        reference: uint8 `(H, W, 3)`, a picture of how the result may look that is no exact result: a later frame of a
            video, or a composite whose background was filled in.
        edit_prompt: what the edit does, as an instruction; `prompt` says what the picture shows.
        regions: areas to be dragged, where the data set gives some.

    Raises:
        ValueError: when shapes or dtypes do not fit together, the name is none that a folder can have, or a prompt
            holds what UTF-8 cannot write.
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
    reference: np.ndarray | None = None
    edit_prompt: str | None = None
    regions: Regions | None = None

    def __post_init__(self) -> None:
        if fault := name_fault(self.name):
            raise ValueError(f"Sample name: {fault}.")
        for text in (self.prompt, self.edit_prompt or ""):
            text.encode()
        if self.image.dtype != np.uint8 or self.image.ndim != 3 or self.image.shape[2] != 3:
            raise ValueError(f"Expected image uint8 (H, W, 3), got {self.image.dtype} {self.image.shape}.")
        if len(self.sources) != len(self.targets):
            raise ValueError(f"Expected as many targets as sources, got {len(self.targets)} and {len(self.sources)}.")
        for label, array, shape, dtype in (
            ("mask", self.mask, self.image.shape[:2], np.bool_),
            ("target", self.target, self.image.shape, np.uint8),
            ("reference", self.reference, self.image.shape, np.uint8),
            ("object_mask", self.meta.object_mask, self.image.shape[:2], np.bool_),
            ("object_mask_target", self.meta.object_mask_target, self.image.shape[:2], np.bool_),
            *(
                (f"regions ({name})", mask, self.image.shape[:2], np.bool_)
                for name, mask in (Regions() if self.regions is None else self.regions).masks().items()
            ),
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
        """SHA-256 of everything a method works from: picture, mask, points, prompts and regions.

        Name, metadata, exact result and reference have no part in it: they decide measures and not edits.
        """
        digest = hashlib.sha256()
        _update(digest, (self.image, self.mask, self.sources.xy, self.targets.xy))
        digest.update(self.prompt.encode())
        # What a sample does not have leaves no trace, so that digests outlive new fields.
        if self.edit_prompt is not None:
            digest.update(b"\0edit prompt" + self.edit_prompt.encode())
        if self.regions is not None:
            digest.update(b"\0regions")
            _update_with_regions(digest, self.regions)
        return digest.hexdigest()

    @property
    def full_digest(self) -> str:
        """SHA-256 of everything but the name: what `digest` covers, exact result, reference, metadata, step limit.

        Two samples with the same one are edited, measured and listed alike.
        """
        digest = hashlib.sha256(self.digest.encode())
        meta = self.meta
        _update(digest, (self.target, self.reference, meta.object_mask, meta.object_mask_target))
        facts = {item.name: getattr(meta, item.name) for item in fields(meta) if "mask" not in item.name}
        facts |= {"pivot": _floats(meta.pivot), "angle": _floats(_alone(meta.angle))}
        _update_with_facts(digest, facts | {"pix_step": self.pix_step})
        return digest.hexdigest()

    def resized(self, size: tuple[int, int]) -> DragSample:
        """The sample at `size = (height, width)`: pictures by area or bicubic, masks by nearest, points too."""
        if size == self.size:
            return self
        meta = replace(
            self.meta,
            pivot=_rescaled(self.meta.pivot, self.size, size),
            object_mask=resize_mask(self.meta.object_mask, size),
            object_mask_target=resize_mask(self.meta.object_mask_target, size),
        )
        return replace(
            self,
            image=resize_image(self.image, size),
            mask=resize_mask(self.mask, size),
            target=None if self.target is None else resize_image(self.target, size),
            reference=None if self.reference is None else resize_image(self.reference, size),
            regions=None if self.regions is None else self.regions.resized(self.size, size),
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


@overload
def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray: ...


@overload
def resize_mask(mask: None, size: tuple[int, int]) -> None: ...


@overload
def resize_mask(mask: np.ndarray | None, size: tuple[int, int]) -> np.ndarray | None: ...


def resize_mask(mask: np.ndarray | None, size: tuple[int, int]) -> np.ndarray | None:
    """`mask` bool `(H, W)` at `size = (height, width)`, by nearest; None stays None."""
    if mask is None or mask.shape == size:
        return mask
    return cv2.resize(mask.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT).astype(bool)


def _rescaled(point: Point | None, old: tuple[int, int], new: tuple[int, int]) -> Point | None:
    if point is None:
        return None
    x, y = ImagePoints.of([point]).rescaled(old, new).xy[0].tolist()
    return x, y


def _update(digest: hashlib._Hash, arrays: Iterable[np.ndarray | None]) -> None:
    for array in arrays:
        if array is None:
            digest.update(b"none")
        else:
            digest.update(repr((array.shape, array.dtype.str)).encode())
            digest.update(np.ascontiguousarray(array).tobytes())


def _update_with_regions(digest: hashlib._Hash, regions: Regions) -> None:
    sources, targets = (None, None) if regions.pairs is None else regions.pairs
    _update(digest, (None if points is None else points.xy for points in (sources, targets)))
    _update(digest, regions.masks().values())
    parts = [
        [part.task, part.pairs, *map(_floats, (part.source, part.target, part.anchor, _alone(part.angle)))]
        for part in regions.parts
    ]
    _update_with_facts(digest, {"cell": _floats(regions.cell), "parts": parts})


def _update_with_facts(digest: hashlib._Hash, facts: dict[str, Any]) -> None:
    digest.update(json.dumps(facts, sort_keys=True, default=str).encode())


def _alone(number: float | None) -> tuple[float] | None:
    return None if number is None else (number,)


def _floats(numbers: Iterable[float] | None) -> list[float] | None:
    """The numbers in one type: whole numbers and floats that are equal mean the same."""
    return None if numbers is None else [float(number) for number in numbers]


def to_uint8(image: torch.Tensor) -> np.ndarray:
    """Float `(1, 3, H, W)` in [0, 1] as uint8 `(H, W, 3)`, rounded."""
    return (image[0].permute(1, 2, 0) * 255).round().clamp(0, 255).to(torch.uint8).numpy()
