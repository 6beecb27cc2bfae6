"""A Hugging Face `imagefolder`: pictures with a `metadata.jsonl` that holds a line per sample."""

from __future__ import annotations

from collections.abc import Sequence

from rotationbench.datasets.folders import Folder
from rotationbench.datasets.formats.base import Entry, Format, outermost
from rotationbench.datasets.formats.rotationbench import split_of, texts_of
from rotationbench.datasets.masks import read_mask
from rotationbench.datasets.reading import (
    LARGEST_LISTING_BYTES,
    LARGEST_TEXT_BYTES,
    MISSING,
    Problems,
    angle_of,
    check_pairs,
    check_size,
    inner_path,
    parse_object,
    point_of,
    points_of,
    read_picture,
    read_text,
    split_pairs,
    text_of,
)
from rotationbench.sample import DragSample, SampleMeta

LISTING = "metadata.jsonl"


class ImageFolder(Format):
    """A line of `metadata.jsonl` per sample.

    Keys: `file_name`, `point` (alternating sources and targets), and optionally `prompt` or `text`, `mask_file_name`,
    `target_file_name`, `split`, `category`, `licence`, `source`, `difficulty`, `pivot` and `angle`. Files are named
    relative to the folder of `metadata.jsonl`, as the `datasets` library does.
    """

    name = "imagefolder"
    signature = f"a {LISTING} beside the pictures"

    def marks(self, folder: Folder) -> bool:
        """A `metadata.jsonl`."""
        return folder.holds(LISTING)

    def find(self, folders: Sequence[Folder], problems: Problems) -> list[Entry]:
        """The lines of every `metadata.jsonl`."""
        entries = []
        for folder in outermost([folder for folder in folders if self.marks(folder)]):
            path = folder.path / folder.names[LISTING]
            text = read_text(path, problems, largest=LARGEST_LISTING_BYTES) or ""
            # JSON may hold every other line break inside its strings.
            for number, line in enumerate(text.split("\n"), start=1):
                if len(line) > LARGEST_TEXT_BYTES:
                    problems.expected(path, f"at most {LARGEST_TEXT_BYTES} bytes in line {number}", f"{len(line)}")
                    continue
                fields = parse_object(line, path, problems, line=number) if line.strip() else None
                if fields is None:
                    continue
                file = inner_path(folder.path, fields.get("file_name", MISSING), "file_name", path, problems)
                if file is not None:
                    entries.append(Entry(file.stem, path, folder.parents, fields))
        return entries

    def split_of(self, entry: Entry, problems: Problems) -> str | None:
        """The line's `split`."""
        split = entry.fields.get("split")
        return split if isinstance(split, str) else None

    def read(self, entry: Entry, problems: Problems) -> DragSample | None:
        """The sample that one line describes."""
        before = len(problems)
        folder, path, fields = entry.path.parent, entry.path, dict(entry.fields)
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
            mask = None if file is None else read_mask(file, noted, size)
        if fields.get("target_file_name") is not None:
            file = inner_path(folder, fields["target_file_name"], "target_file_name", path, noted)
            target = None if file is None else read_picture(file, noted)
            check_size(file or path, target, size, noted)
        meta = SampleMeta(
            split=split_of(fields.get("split"), path, noted),
            angle=angle_of(fields.get("angle"), path, noted),
            pivot=point_of(fields.get("pivot"), "pivot", path, noted),
            **texts_of(fields, path, noted),
        )
        problems.extend(f"{problem[:-1]} (sample {entry.name})." for problem in noted)
        problems.warnings.extend(noted.warnings)
        if len(problems) > before or image is None or pairs is None:
            return None
        return DragSample(entry.name, image, prompt, *pairs, mask=mask, target=target, meta=meta)
