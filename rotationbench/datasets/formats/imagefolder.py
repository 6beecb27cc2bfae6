"""A Hugging Face `imagefolder`: pictures with a `metadata.jsonl` that holds a line per sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rotationbench.datasets.formats.base import Entry, folders_with
from rotationbench.datasets.formats.rotationbench import SPLITS, TEXT_FIELDS
from rotationbench.datasets.reading import (
    MISSING,
    Problems,
    check_pairs,
    check_size,
    described,
    inner_path,
    is_number,
    parse_object,
    points_of,
    read_mask,
    read_picture,
    read_text,
    split_pairs,
    text_of,
)
from rotationbench.sample import DragSample, SampleMeta

LISTING = "metadata.jsonl"


class ImageFolder:
    """A line of `metadata.jsonl` per sample.

    Keys: `file_name`, `point` (alternating sources and targets), and optionally `prompt` or `text`, `mask_file_name`,
    `target_file_name`, `split`, `category`, `licence`, `source`, `difficulty`, `pivot` and `angle`. Files are named
    relative to the folder of `metadata.jsonl`, as the `datasets` library does.
    """

    name = "imagefolder"
    signature = f"a {LISTING} beside the pictures"

    def find(self, root: Path, problems: Problems) -> list[Entry]:
        """The lines of every `metadata.jsonl` at or below `root`."""
        entries = []
        for listing in folders_with(root, (LISTING,)):
            path = listing.path / LISTING
            for number, line in enumerate((read_text(path, problems) or "").splitlines(), start=1):
                fields = parse_object(line, path, problems, line=number) if line.strip() else None
                if fields is None:
                    continue
                file = inner_path(listing.path, fields.get("file_name", MISSING), "file_name", path, problems)
                if file is not None:
                    entries.append(Entry(file.stem, path, listing.parents, fields))
        return entries

    def split_of(self, entry: Entry, problems: Problems) -> str | None:
        """The line's `split`."""
        split = entry.fields.get("split")
        return split if isinstance(split, str) else None

    def read(self, entry: Entry, problems: Problems) -> DragSample | None:
        """The sample that one line describes."""
        before = len(problems)
        folder, path, fields = entry.path.parent, entry.path, entry.fields
        image = read_picture(folder / fields["file_name"], problems)
        size = None if image is None else image.shape[:2]
        noted = Problems()
        points = points_of(fields.get("point", MISSING), "point", path, noted)
        pairs = split_pairs(points, "point", path, noted)
        check_pairs(pairs, size, path, noted)
        prompt = text_of(fields.get("prompt", fields.get("text", "")), "prompt", path, noted)
        mask, target = None, None
        if fields.get("mask_file_name") is not None:
            file = inner_path(folder, fields["mask_file_name"], "mask_file_name", path, noted)
            mask = None if file is None else read_mask(file, noted)
            check_size(file or path, mask, size, noted)
        if fields.get("target_file_name") is not None:
            file = inner_path(folder, fields["target_file_name"], "target_file_name", path, noted)
            target = None if file is None else read_picture(file, noted)
            check_size(file or path, target, size, noted)
        meta = _meta(fields, path, noted)
        problems.extend(f"{problem[:-1]} (sample {entry.name})." for problem in noted)
        if len(problems) > before or image is None or pairs is None:
            return None
        return DragSample(entry.name, image, prompt, *pairs, mask=mask, target=target, meta=meta)


def _meta(fields: dict[str, Any], path: Path, problems: Problems) -> SampleMeta:
    known: dict[str, Any] = {}
    for key in TEXT_FIELDS:
        value = fields.get(key)
        known[key] = None if value is None else text_of(value, key, path, problems)
    split, angle, pivot = fields.get("split"), fields.get("angle"), fields.get("pivot")
    if split is not None and split not in SPLITS:
        problems.expected(path, f'{", ".join(SPLITS[:-1])} or {SPLITS[-1]} as "split"', described(split))
    if angle is not None and not is_number(angle):
        problems.expected(path, 'a finite number of degrees as "angle"', described(angle))
    if pivot is not None:
        point = points_of([pivot], "pivot", path, problems)
        known["pivot"] = None if point is None else tuple(point.xy[0].tolist())
    return SampleMeta(split=split, angle=angle, **known)
