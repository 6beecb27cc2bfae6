"""ReD Bench, the benchmark of DragFlow: drags as points and as regions with a task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from rotationbench.datasets.folders import Folder, picture_called, read_main_picture, the_file
from rotationbench.datasets.formats.base import Entry, Format, optional_mask
from rotationbench.datasets.masks import read_mask
from rotationbench.datasets.reading import (
    MISSING,
    Pairs,
    Problems,
    check_pairs,
    described,
    joined_pairs,
    points_of,
    read_json,
    text_of,
)
from rotationbench.points import ImagePoints
from rotationbench.rotation import turn_between
from rotationbench.sample import DragSample, Region, Regions, SampleMeta

CONFIG = "instruction.json"
HANDLES = "operation"
TASKS = ("rotation", "transformation", "deformation")
PINNED = 5.0
"""Pixels from an anchor within which both ends of a pair pin it."""
STILL = 2.0
"""Pixels between the ends of a pair that pins an anchor."""


class ReDBench(Format):
    """`original_image.png`, `operation.png` with the handle regions, `instruction.json`, and optionally `mask.png`.

    `background_prompt` says what the picture shows, `editing_prompt` what the edit does. One rotation alone gives
    angle, pivot and object mask; the angle is an estimate, from the centroids of the region before and after.
    Source: Zhou et al., DragFlow, arXiv 2510.02253, section 5.
    """

    name = "red_bench"
    signature = f"folders with {CONFIG}, original_image.png and {HANDLES}.png"
    picture = "original_image"

    def marks(self, folder: Folder) -> bool:
        """An `instruction.json`."""
        return folder.holds(CONFIG)

    def read(self, entry: Entry, problems: Problems) -> DragSample | None:
        """The sample; without a `mask.png` its mask is None."""
        before = len(problems)
        image = read_main_picture(entry.path, "original_image", problems)
        size = None if image is None else image.shape[:2]
        path = the_file(entry.path, CONFIG, problems)
        config = read_json(path, problems) or {}
        operations = _operations(config.get("region_operations"), path, problems)
        points = config.get("point_operations", MISSING)
        in_file = None
        if isinstance(points, dict):
            begins, ends = (
                points_of(points.get(key, MISSING), key, path, problems) for key in ("begin_points", "target_points")
            )
            in_file = joined_pairs(begins, ends, path, problems)
        elif config:
            problems.expected(
                path, 'an object with begin_points and target_points as "point_operations"', described(points)
            )
        pairs = None if in_file is None else pinned(in_file, [part["anchor"] for part in operations])
        check_pairs(pairs, size, path, problems)
        prompt, edit_prompt = "", None
        if config:
            prompt = text_of(config.get("background_prompt", MISSING), "background_prompt", path, problems)
            edit_prompt = text_of(config.get("editing_prompt", ""), "editing_prompt", path, problems) or None
        mask = optional_mask(entry.path, "mask", size, problems, above=0)
        handles_path = picture_called(entry.path, HANDLES, problems) or entry.path / f"{HANDLES}.png"
        handles = read_mask(handles_path, problems, size, above=0, may_be_black=False)
        if len(problems) > before or image is None or pairs is None or in_file is None or handles is None:
            return None
        regions = _regions(handles, operations, handles_path, problems)
        return DragSample(
            entry.name,
            image,
            prompt,
            *pairs,
            mask=mask,
            meta=_meta(entry, regions.parts, operations, in_file, pairs),
            edit_prompt=edit_prompt,
            regions=regions,
        )


def pinned(pairs: Pairs, anchors: list[tuple[float, float] | None]) -> Pairs:
    """`pairs`, in which those that pin an anchor become pivot pairs at that anchor.

    A pair pins the nearest anchor when both its ends lie within 5 px of it and at most 2 px apart.
    """
    sources, targets = pairs[0].xy.copy(), pairs[1].xy.copy()
    known = np.array([anchor for anchor in anchors if anchor is not None])
    for source, target in zip(sources, targets, strict=True):
        if not len(known) or np.linalg.norm(target - source) > STILL:
            continue
        anchor = known[np.linalg.norm(known - source, axis=1).argmin()]
        if max(np.linalg.norm(source - anchor), np.linalg.norm(target - anchor)) <= PINNED:
            source[:] = target[:] = anchor
    return ImagePoints(sources), ImagePoints(targets)


def turn_about(anchor: tuple[float, float], source: tuple[float, float], target: tuple[float, float]) -> float:
    """Degrees, clockwise and within ±180, that turn `source` into the direction of `target` about `anchor`."""
    return turn_between(np.subtract(source, anchor), np.subtract(target, anchor))


def _operations(value: Any, path: Path, problems: Problems) -> list[dict[str, Any]]:
    """Task, source, target and anchor of each region operation."""
    if value is None:
        return []
    if not isinstance(value, dict):
        problems.expected(path, 'an object as "region_operations"', described(value))
        return []
    operations = []
    for key, operation in value.items():
        where = f"region_operations.{key[:40]}"
        fields = operation if isinstance(operation, dict) else {}
        if fields.get("task") not in TASKS:
            problems.expected(path, f'{", ".join(TASKS)} as "{where}.task"', described(fields.get("task", operation)))
            continue
        ends = points_of(fields.get("centroids", MISSING), f"{where}.centroids", path, problems)
        if ends is not None and len(ends) != 2:
            problems.expected(path, f'two points as "{where}.centroids"', f"{len(ends)}")
        given = fields.get("anchors")
        anchor = None if given is None else points_of([given], f"{where}.anchors", path, problems)
        if ends is not None and len(ends) == 2 and (anchor is None) == (given is None):
            source, target = (tuple(point) for point in ends.xy.tolist())
            place = None if anchor is None else tuple(anchor.xy[0].tolist())
            operations.append({"task": fields["task"], "source": source, "target": target, "anchor": place})
    return operations


def _regions(handles: np.ndarray, operations: list[dict[str, Any]], path: Path, problems: Problems) -> Regions:
    """The components of the handles in which the operations begin."""
    _, components = cv2.connectedComponents(handles.astype(np.uint8))
    parts = []
    for operation in operations:
        x, y = (round(value) for value in operation["source"])
        inside = 0 <= y < handles.shape[0] and 0 <= x < handles.shape[1]
        if not inside or components[y, x] == 0:
            problems.warn(path, f"no handle region at ({x}, {y}), where a {operation['task']} begins; it is left out.")
            continue
        turns = operation["task"] == "rotation" and operation["anchor"] is not None
        angle = turn_about(operation["anchor"], operation["source"], operation["target"]) if turns else None
        parts.append(Region(components == components[y, x], **operation, angle=angle))
    return Regions(sources=handles, parts=tuple(parts))


def _meta(
    entry: Entry, parts: tuple[Region, ...], operations: list[dict[str, Any]], in_file: Pairs, pairs: Pairs
) -> SampleMeta:
    extra: dict[str, Any] = {}
    if any((ours.xy != theirs.xy).any() for ours, theirs in zip(pairs, in_file, strict=True)):
        extra = {"sources_in_file": in_file[0].xy.tolist(), "targets_in_file": in_file[1].xy.tolist()}
    category = None
    if tasks := sorted({operation["task"] for operation in operations}):
        category = tasks[0] if len(tasks) == 1 else "mixed"
    if len(operations) == 1 and operations[0]["task"] == "rotation" and (anchor := operations[0]["anchor"]) is not None:
        angle = turn_about(anchor, operations[0]["source"], operations[0]["target"])
        mask = parts[0].mask if parts else None
        return SampleMeta(
            category=category, pivot=anchor, angle=angle, turn_estimated=True, object_mask=mask, extra=extra
        )
    return SampleMeta(category=category, extra=extra)
