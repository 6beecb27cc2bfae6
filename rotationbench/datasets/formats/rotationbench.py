"""RotationBench's own folders, which are also what the RotationDrag interface saves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rotationbench.datasets.folders import Folder, file_called, read_main_picture, the_file
from rotationbench.datasets.formats.base import Entry, Format, Size, optional_mask, optional_picture
from rotationbench.datasets.masks import read_mask
from rotationbench.datasets.reading import (
    LONGEST_WORD_BYTES,
    MISSING,
    Problems,
    angle_of,
    check_extra,
    check_pairs,
    described,
    inner_path,
    point_of,
    points_of,
    read_json,
    split_pairs,
    text_of,
    whole_number_of,
)
from rotationbench.sample import DragSample, Region, Regions, SampleMeta

IN_DOMAIN = "in_domain"
"""Drags of objects that the embedded model was trained on: for demonstrations, and no part of the benchmark."""
SPLITS = ("real", "generated", IN_DOMAIN)
CONFIG = "config.json"
META = "meta.json"
REGIONS = "regions.json"
TEXT_FIELDS = ("category", "licence", "source", "difficulty")
MASK_FIELDS = ("object_mask", "object_mask_target")
MOST_PARTS = 1000


class RotationBench(Format):
    """A folder per sample: `image.png`, `config.json`, and optionally what else a sample can have.

    That is `mask.png`, `target.png`, `reference.png`, `meta.json` and `regions.json`.
    """

    name = "rotationbench"
    signature = f"folders with {CONFIG} and image.png"
    picture = "image"

    def marks(self, folder: Folder) -> bool:
        """A `config.json` or an `image.png`."""
        return folder.holds(CONFIG) or folder.holds("image.png")

    def split_of(self, entry: Entry, problems: Problems) -> str | None:
        """The split in `meta.json`."""
        path = file_called(entry.path, META, problems)
        content = None if path is None else read_json(path, problems)
        split = None if content is None else content.get("split")
        return split if isinstance(split, str) else None

    def read(self, entry: Entry, problems: Problems) -> DragSample | None:
        """The sample in the folder; without a `mask.png` its mask is None."""
        before = len(problems)
        folder = entry.path
        image = read_main_picture(folder, "image", problems)
        size = None if image is None else image.shape[:2]

        path = the_file(folder, CONFIG, problems)
        config = read_json(path, problems)
        pairs, prompt, edit_prompt, pix_step = None, "", None, None
        if config is not None:
            points = points_of(config.get("point", MISSING), "point", path, problems)
            pairs = split_pairs(points, "point", path, problems)
            check_pairs(pairs, size, path, problems)
            prompt = text_of(config.get("prompt", MISSING), "prompt", path, problems)
            if config.get("edit_prompt") is not None:
                edit_prompt = text_of(config["edit_prompt"], "edit_prompt", path, problems)
            pix_step = whole_number_of(config.get("pix_step"), "pix_step", path, problems)

        mask = optional_mask(folder, "mask", size, problems)
        target = optional_picture(folder, "target", size, problems)
        reference = optional_picture(folder, "reference", size, problems)
        meta_path = file_called(folder, META, problems)
        meta = SampleMeta() if meta_path is None else read_meta(meta_path, size, problems)
        regions_path = file_called(folder, REGIONS, problems)
        regions = None if regions_path is None else read_regions(regions_path, size, problems)

        if len(problems) > before or image is None or pairs is None:
            return None
        return DragSample(
            entry.name,
            image,
            prompt,
            *pairs,
            mask=mask,
            target=target,
            meta=meta,
            pix_step=pix_step,
            reference=reference,
            edit_prompt=edit_prompt,
            regions=regions,
        )


def read_meta(path: Path, size: Size | None, problems: Problems) -> SampleMeta:
    """The metadata in the `meta.json` at `path`, with the object masks that it names.

    Args:
        path: the file.
        size: `(height, width)` that the masks must have; None when the picture could not be read.
        problems: where problems are noted.
    """
    content = read_json(path, problems)
    if content is None:
        return SampleMeta()
    rest = dict(content)
    known: dict[str, Any] = {"split": split_of(rest.pop("split", None), path, problems)}
    known |= texts_of(rest, path, problems)
    known["angle"] = angle_of(rest.pop("angle", None), path, problems)
    known["pivot"] = point_of(rest.pop("pivot", None), "pivot", path, problems)
    known["turn_estimated"] = rest.pop("turn_estimated", False)
    if not isinstance(known["turn_estimated"], bool):
        problems.expected(path, 'true or false as "turn_estimated"', described(known["turn_estimated"]))
    for key in MASK_FIELDS:
        known[key] = _named_mask(rest.pop(key, None), key, path, size, problems)
    return SampleMeta(**known, extra=check_extra(rest, path, problems))


def split_of(value: Any, path: Path, problems: Problems) -> str | None:
    """`value` when it is None or a split; otherwise None, after noting the problem."""
    if value is None or value in SPLITS:
        return value
    problems.expected(path, f'{", ".join(SPLITS[:-1])} or {SPLITS[-1]} as "split"', described(value))
    return None


def texts_of(fields: dict[str, Any], path: Path, problems: Problems) -> dict[str, Any]:
    """The metadata that is text, or None, taken out of `fields`."""
    texts: dict[str, Any] = {}
    for key in TEXT_FIELDS:
        value = fields.pop(key, None)
        longest = LONGEST_WORD_BYTES
        texts[key] = None if value is None else text_of(value, key, path, problems, longest=longest)
    return texts


def read_regions(path: Path, size: Size | None, problems: Problems) -> Regions | None:
    """The regions in the `regions.json` at `path`, with the masks that it names; see `read_meta` for the arguments."""
    before = len(problems)
    content = read_json(path, problems)
    if content is None:
        return None
    pairs, cell = None, content.get("cell")
    if content.get("pairs") is not None:
        pairs = split_pairs(points_of(content["pairs"], "pairs", path, problems), "pairs", path, problems)
    if cell is not None:
        cell = point_of(cell, "cell", path, problems)
    sources, targets = (_named_mask(content.get(key), key, path, size, problems) for key in ("sources", "targets"))
    listed = content.get("parts", [])
    if not isinstance(listed, list) or len(listed) > MOST_PARTS or not all(isinstance(part, dict) for part in listed):
        problems.expected(path, f'a list of at most {MOST_PARTS} objects as "parts"', described(listed))
        listed = []
    parts = [_part(part, 0 if pairs is None else len(pairs[0]), path, size, problems) for part in listed]
    if len(problems) > before:
        return None
    return Regions(sources, targets, pairs, cell, tuple(part for part in parts if part is not None))


def _part(fields: dict[str, Any], pairs: int, path: Path, size: Size | None, problems: Problems) -> Region | None:
    mask = _named_mask(fields.get("mask", MISSING), "mask", path, size, problems)
    task = None if fields.get("task") is None else text_of(fields["task"], "task", path, problems)
    places = {key: point_of(fields.get(key), key, path, problems) for key in ("source", "target", "anchor")}
    angle = angle_of(fields.get("angle"), path, problems)
    chosen = fields.get("pairs", [])
    if not isinstance(chosen, list) or not all(type(index) is int and 0 <= index < pairs for index in chosen):
        problems.expected(path, f'positions among {pairs} pairs as "pairs" of a part', described(chosen))
        chosen = []
    return None if mask is None else Region(mask, task, **places, angle=angle, pairs=tuple(chosen))


def _named_mask(name: Any, key: str, path: Path, size: Size | None, problems: Problems) -> np.ndarray | None:
    if name is None:
        return None
    file = inner_path(path.parent, name, key, path, problems)
    if file is None:
        return None
    return read_mask(file, problems, size, may_be_black=False)
