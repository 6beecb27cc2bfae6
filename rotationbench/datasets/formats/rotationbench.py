"""RotationBench's own folders, which are also what the RotationDrag interface saves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rotationbench.datasets.formats.base import Entry, folders_with
from rotationbench.datasets.reading import (
    MISSING,
    Problems,
    check_pairs,
    check_size,
    described,
    first_picture,
    inner_path,
    is_number,
    points_of,
    read_json,
    read_mask,
    read_picture,
    split_pairs,
    text_of,
)
from rotationbench.sample import DragSample, SampleMeta

IN_DOMAIN = "in_domain"
"""Drags of objects that the embedded model was trained on: for demonstrations, and no part of the benchmark."""
SPLITS = ("real", "generated", IN_DOMAIN)
CONFIG = "config.json"
META = "meta.json"
TEXT_FIELDS = ("category", "licence", "source", "difficulty")
MASK_FIELDS = ("object_mask", "object_mask_target")


class RotationBench:
    """A folder per sample: `image.png`, `config.json`, and optionally `mask.png`, `target.png` and `meta.json`."""

    name = "rotationbench"
    signature = f"folders with {CONFIG} and image.png"

    def find(self, root: Path, problems: Problems) -> list[Entry]:
        """Folders with a `config.json` or an `image.png`."""
        return folders_with(root, (CONFIG, "image.png"))

    def split_of(self, entry: Entry, problems: Problems) -> str | None:
        """The split in `meta.json`."""
        if not (entry.path / META).is_file():
            return None
        content = read_json(entry.path / META, problems)
        split = None if content is None else content.get("split")
        return split if isinstance(split, str) else None

    def read(self, entry: Entry, problems: Problems) -> DragSample | None:
        """The sample in the folder; without a `mask.png` its mask is None."""
        before = len(problems)
        folder = entry.path
        image = read_picture(first_picture(folder, "image"), problems)
        size = None if image is None else image.shape[:2]

        path = folder / CONFIG
        config = read_json(path, problems)
        pairs, prompt, pix_step = None, "", None
        if config is not None:
            points = points_of(config.get("point", MISSING), "point", path, problems)
            pairs = split_pairs(points, "point", path, problems)
            check_pairs(pairs, size, path, problems)
            prompt = text_of(config.get("prompt", MISSING), "prompt", path, problems)
            pix_step = config.get("pix_step")
            if pix_step is not None and (not isinstance(pix_step, int) or isinstance(pix_step, bool) or pix_step < 1):
                problems.expected(path, 'a positive whole number as "pix_step"', described(pix_step))

        mask, target = None, None
        if (folder / "mask.png").is_file():
            mask = read_mask(folder / "mask.png", problems)
            check_size(folder / "mask.png", mask, size, problems)
        if (folder / "target.png").is_file():
            target = read_picture(folder / "target.png", problems)
            check_size(folder / "target.png", target, size, problems)
        meta = read_meta(folder / META, size, problems) if (folder / META).is_file() else SampleMeta()

        if len(problems) > before or image is None or pairs is None:
            return None
        return DragSample(entry.name, image, prompt, *pairs, mask=mask, target=target, meta=meta, pix_step=pix_step)


def read_meta(path: Path, size: tuple[int, int] | None, problems: Problems) -> SampleMeta:
    """The metadata in the `meta.json` at `path`, with the object masks that it names.

    Args:
        path: the file.
        size: `(height, width)` that the masks must have; None when the picture could not be read.
        problems: where problems are noted.
    """
    content = read_json(path, problems)
    if content is None:
        return SampleMeta()
    known: dict[str, Any] = {}
    rest = dict(content)
    split = rest.pop("split", None)
    if split is not None and split not in SPLITS:
        problems.expected(path, f'{", ".join(SPLITS[:-1])} or {SPLITS[-1]} as "split"', described(split))
    known["split"] = split
    for key in TEXT_FIELDS:
        value = rest.pop(key, None)
        known[key] = None if value is None else text_of(value, key, path, problems)
    angle = rest.pop("angle", None)
    if angle is not None and not is_number(angle):
        problems.expected(path, 'a finite number of degrees as "angle"', described(angle))
    known["angle"] = angle
    pivot = rest.pop("pivot", None)
    if pivot is not None:
        if isinstance(pivot, list) and len(pivot) == 2 and all(is_number(number) for number in pivot):
            known["pivot"] = (float(pivot[0]), float(pivot[1]))
        else:
            problems.expected(path, 'two finite numbers [x, y] as "pivot"', described(pivot))
    for key in MASK_FIELDS:
        known[key] = _object_mask(rest.pop(key, None), key, path, size, problems)
    return SampleMeta(**known, extra=rest)


def _object_mask(
    name: Any, key: str, path: Path, size: tuple[int, int] | None, problems: Problems
) -> np.ndarray | None:
    if name is None:
        return None
    file = inner_path(path.parent, name, key, path, problems)
    if file is None:
        return None
    mask = read_mask(file, problems)
    check_size(file, mask, size, problems)
    return mask
