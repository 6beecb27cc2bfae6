"""A drag as the page holds it, and as the sample that it means."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from rotationbench.datasets.reading import (
    FARTHEST_PIVOT,
    LARGEST_ANGLE,
    LARGEST_NUMBER,
    LONGEST_PROMPT_BYTES,
    Problems,
    check_pairs,
    parse_object,
    points_of,
    split_pairs,
    text_fault,
    text_of,
)
from rotationbench.names import LONGEST_NAME_BYTES, name_fault
from rotationbench.points import ImagePoints
from rotationbench.sample import DragSample, SampleMeta
from studio.pictures import PictureShelf, UploadError, mask_of_text, text_of_mask

MOST_PAIRS = 200
SAME_PLACE = 0.5
"""Pixels by which a pivot pair may miss the stated pivot and still be its pair."""

Coordinate = Annotated[float, Field(ge=-LARGEST_NUMBER, le=LARGEST_NUMBER, allow_inf_nan=False)]
Point = tuple[Coordinate, Coordinate]


class Strict(BaseModel):
    """A model that refuses what it does not know."""

    model_config = ConfigDict(extra="forbid")


class Origin(Strict):
    """The sample that a drag was opened from.

    Args:
        dataset: the data set's name in the library.
        sample: the sample's name in it.
    """

    dataset: str = Field(max_length=LONGEST_NAME_BYTES)
    sample: str = Field(max_length=LONGEST_NAME_BYTES)


class Annotation(Strict):
    """A drag as the page sends it.

    Args:
        name: of the sample.
        prompt: what the picture shows.
        picture: the name of a kept picture.
        pairs: sources and targets in image pixels, without the pivot.
        pivot: the centre of the turn in image pixels.
        pivot_given: whether methods are told the pivot, by a pair that stays where it is.
        angle: the turn in degrees, positive clockwise; None when the targets are not those of one turn.
        mask: a PNG in base64, white where the picture may change.
        object_mask: a PNG in base64, white where the object is.
        origin: the sample that the drag was opened from, whose further facts are kept.
    """

    name: str = Field(max_length=LONGEST_NAME_BYTES)
    prompt: str = Field(default="", max_length=LONGEST_PROMPT_BYTES)
    picture: str = Field(pattern="^[0-9a-f]{64}$")
    pairs: list[tuple[Point, Point]] = Field(default_factory=list, max_length=MOST_PAIRS)
    pivot: Point | None = None
    pivot_given: bool = True
    angle: float | None = Field(default=None, ge=-LARGEST_ANGLE, le=LARGEST_ANGLE, allow_inf_nan=False)
    mask: str | None = None
    object_mask: str | None = None
    origin: Origin | None = None


def sample_of(
    annotation: Annotation, pictures: PictureShelf, origin: DragSample | None
) -> tuple[DragSample, list[str]]:
    """The sample that a drag means.

    What the page does not show of the sample that it was opened from is kept. The exact result, a reference, and
    regions belong to one drag; they are left out when it has become another.

    Args:
        annotation: the drag.
        pictures: where its picture is kept.
        origin: the sample that it was opened from.

    Returns:
        The sample, and what of its origin was left out.

    Raises:
        UploadError: with everything that is wrong with the drag.
    """
    image = pictures.image(annotation.picture)
    size = image.shape[0], image.shape[1]
    mask = mask_of_text(annotation.mask, size, "the mask")
    object_mask = mask_of_text(annotation.object_mask, size, "the object's mask")
    pairs = list(annotation.pairs)
    if annotation.pivot is not None and annotation.pivot_given:
        pairs.append((annotation.pivot, annotation.pivot))
    sources, targets = (ImagePoints(np.array([pair[end] for pair in pairs], dtype=np.float64)) for end in (0, 1))

    problems = Problems()
    here = Path("the drag")
    check_pairs((sources, targets), size, here, problems)
    if fault := name_fault(annotation.name):
        problems.note(Path("the name"), f"{fault}.")
    if text := text_fault(annotation.prompt, LONGEST_PROMPT_BYTES):
        problems.expected(Path("the prompt"), *text)
    if annotation.pivot is not None and max(map(abs, annotation.pivot)) > FARTHEST_PIVOT:
        problems.expected(Path("the pivot"), f"a place within ±{FARTHEST_PIVOT:g}", str(annotation.pivot))
    if problems:
        raise UploadError(" ".join(problems))

    sample = DragSample(
        annotation.name,
        image,
        annotation.prompt,
        sources,
        targets,
        mask=mask,
        meta=replace(
            SampleMeta() if origin is None else origin.meta,
            pivot=annotation.pivot,
            angle=None if annotation.pivot is None else annotation.angle,
            object_mask=object_mask,
            object_mask_target=None,
            turn_estimated=False,
        ),
    )
    return (sample, []) if origin is None else _with_rest_of(origin, sample)


def _with_rest_of(origin: DragSample, sample: DragSample) -> tuple[DragSample, list[str]]:
    """A sample with what the page does not show of the one it was opened from, and what of it was left out."""
    sample = replace(sample, edit_prompt=origin.edit_prompt, pix_step=origin.pix_step)
    if _same_drag(sample, origin):
        turned, estimated = origin.meta.object_mask_target, origin.meta.turn_estimated
        meta = replace(sample.meta, object_mask_target=turned, turn_estimated=estimated)
        kept = replace(sample, target=origin.target, reference=origin.reference, regions=origin.regions, meta=meta)
        return kept, []
    belongs_to_the_drag = {
        "the exact result": origin.target,
        "the reference": origin.reference,
        "the regions": origin.regions,
        "the object's mask after the turn": origin.meta.object_mask_target,
    }
    return sample, [what for what, value in belongs_to_the_drag.items() if value is not None]


def _same_drag(sample: DragSample, origin: DragSample) -> bool:
    """Whether picture and drag are those of the origin; masks and texts may differ."""
    if not np.array_equal(sample.image, origin.image) or sample.meta.angle != origin.meta.angle:
        return False
    return _pairs(sample) == _pairs(origin) and sample.meta.pivot == origin.meta.pivot


def _pairs(sample: DragSample) -> list[list[float]]:
    return sorted(np.concatenate([sample.sources.xy, sample.targets.xy], axis=1).tolist())


def annotation_of(sample: DragSample, picture: str) -> dict[str, Any]:
    """A sample as the page takes it: as `Annotation`, with the picture's size.

    The pivot is the only pivot pair, or else the one in the metadata; further pivot pairs stay pairs.

    Args:
        sample: the sample.
        picture: the name under which its picture is kept.
    """
    fixed = np.flatnonzero(sample.is_pivot)
    pivot, given = sample.meta.pivot, False
    stated = None if pivot is None else np.array(pivot)
    matching = [
        index for index in fixed if stated is None or np.linalg.norm(sample.sources.xy[index] - stated) <= SAME_PLACE
    ]
    if len(matching) == 1 and (stated is not None or len(fixed) == 1):
        given = True
        x, y = sample.sources.xy[matching[0]].tolist()
        pivot = (x, y)
    taken = set(matching) if given else set()
    pairs = [
        [sample.sources.xy[index].tolist(), sample.targets.xy[index].tolist()]
        for index in range(len(sample.sources))
        if index not in taken
    ]
    return {
        "name": sample.name,
        "prompt": sample.prompt,
        "picture": picture,
        "height": sample.size[0],
        "width": sample.size[1],
        "pairs": pairs,
        "pivot": pivot,
        "pivot_given": given or pivot is None,
        "angle": sample.meta.angle,
        "mask": text_of_mask(sample.mask),
        "object_mask": text_of_mask(sample.meta.object_mask),
        "digest": sample.digest,
        "exact_result": sample.target is not None,
    }


def annotation_of_config(content: bytes) -> dict[str, Any]:
    """Pairs, pivot and prompt of a `config.json`, as the RotationDrag interface and RotationBench write it.

    Raises:
        UploadError: with everything that is wrong with it.
    """
    problems, path = Problems(), Path("config.json")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UploadError("config.json: expected UTF-8 text, got something else.") from error
    config = parse_object(text, path, problems)
    pairs, prompt = None, ""
    if config is not None:
        points = points_of(config.get("point", config.get("points")), "point", path, problems)
        pairs = split_pairs(points, "point", path, problems)
        prompt = text_of(config.get("prompt", ""), "prompt", path, problems)
    if problems or pairs is None:
        raise UploadError(" ".join(problems))
    sources, targets = pairs
    fixed = (sources.xy == targets.xy).all(axis=1)
    pivot = sources.xy[fixed][0].tolist() if fixed.sum() == 1 else None
    moving = [
        [source, target]
        for source, target, is_fixed in zip(sources.xy.tolist(), targets.xy.tolist(), fixed, strict=True)
        if pivot is None or not is_fixed
    ]
    return {"prompt": prompt, "pairs": moving, "pivot": pivot}
