"""Check samples before they are used or contributed: `python -m rotationbench.datasets.validate PATH`.

Prints every problem of every sample with its file, then a summary; the exit status is 1 when there is a problem.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rotationbench.datasets.dataset import LISTS, Dataset, open_dataset
from rotationbench.datasets.dataset import log as dataset_log
from rotationbench.datasets.formats import known_formats
from rotationbench.datasets.index import CHECKSUMS, INDEX, data_files, described, index_text
from rotationbench.datasets.reading import LARGEST_LISTING_BYTES, Problems, read_text
from rotationbench.errors import DatasetError, RotationBenchError
from rotationbench.files import sha256_of_file
from rotationbench.rotation import turn_points
from rotationbench.sample import DragSample

TOLERANCE = 2.0
"""Pixels by which a target may miss the place to which the stated turn leads; points are whole pixels."""
CHECKSUM_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
SAME = 4
"""Levels of 255 by which the exact result may differ from the picture outside the mask."""


def problems_of(root: Path, format: str = "auto") -> tuple[Dataset | None, list[str]]:
    """The data set below `root`, or None when it cannot be opened, and everything that is wrong with it.

    Beyond what `open_dataset` checks, samples are held to what they say about themselves: targets lie where the stated
    pivot and angle lead, the exact result equals the picture outside the mask, object masks are not empty; and the
    root's `index.csv`, `SHA256SUMS` and lists of subsets, where they exist, agree with the samples.

    Args:
        root: the folder.
        format: as in `open_dataset`.
    """
    dataset, _, problems = checked(root, format)
    return dataset, problems


def checked(root: Path, format: str = "auto") -> tuple[Dataset | None, list[dict[str, Any]], Problems]:
    """As `problems_of`, with the row of the index of each sample that can be read; every picture is read once."""
    problems = Problems()
    try:
        dataset = open_dataset(root, format, split="any", check=False)
    except DatasetError as error:
        return None, [], Problems(error.problems)
    rows = []
    for name in dataset.names:
        try:
            sample = dataset[name]
        except DatasetError as error:
            problems.extend(error.problems)
        else:
            rows.append(described(sample))
            _check_claims(dataset.path(name), sample, problems)
    _check_listings(root, rows if len(rows) == len(dataset) else None, problems)
    problems.warnings.extend(dataset.warnings)
    return dataset, rows, problems


def _check_claims(folder: Path, sample: DragSample, problems: Problems) -> None:
    """Note where a sample contradicts its own metadata."""
    meta, moving = sample.meta, ~sample.is_pivot
    if meta.pivot is not None and meta.angle is not None and not meta.turn_estimated:
        led = turn_points(sample.sources.xy[moving], meta.pivot, meta.angle)
        for target, place in zip(sample.targets.xy[moving], led, strict=True):
            if np.linalg.norm(target - place) > TOLERANCE:
                expected = f"a target near ({place[0]:.0f}, {place[1]:.0f}), where pivot and angle lead"
                problems.expected(folder, expected, f"({target[0]:g}, {target[1]:g})")
    if meta.pivot is not None and not meta.turn_estimated:
        for point in sample.sources.xy[~moving]:
            if np.linalg.norm(point - meta.pivot) > TOLERANCE:
                expected = f"the pivot pair at the stated pivot ({meta.pivot[0]:g}, {meta.pivot[1]:g})"
                problems.expected(folder, expected, f"({point[0]:g}, {point[1]:g})")
    for key, mask in (("object_mask", meta.object_mask), ("object_mask_target", meta.object_mask_target)):
        if mask is not None and not mask.any():
            problems.expected(folder, f"something in {key}", "an empty mask")
    if sample.target is not None and sample.mask is not None:
        change = np.abs(sample.target.astype(int) - sample.image.astype(int)).max(axis=2)
        outside = int(((change > SAME) & ~sample.mask).sum())
        if outside:
            problems.expected(
                folder, "an exact result that equals the picture outside the mask", f"{outside} pixels off"
            )


def _check_listings(root: Path, rows: Sequence[dict[str, Any]] | None, problems: Problems) -> None:
    """Note where the files that list the samples disagree with them; `rows` is None when not all could be read."""
    index, checksums = root / INDEX, root / CHECKSUMS
    if index.exists():
        text = read_text(index, problems, largest=LARGEST_LISTING_BYTES)
        if text is not None and rows is not None and text != index_text(rows):
            problems.note(
                index, "expected the index of these samples; write it with `python -m rotationbench.datasets.index`."
            )
    if checksums.exists():
        _check_checksums(root, checksums, problems)
    for subset, name in LISTS.items():
        if (root / name).exists():
            try:
                open_dataset(root, subset=subset, check=False)
            except DatasetError as error:
                problems.extend(error.problems)


def _check_checksums(root: Path, path: Path, problems: Problems) -> None:
    text = read_text(path, problems, largest=LARGEST_LISTING_BYTES)
    if text is None:
        return
    listed = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if (match := CHECKSUM_LINE.fullmatch(line)) is not None:
            listed[match[2]] = match[1]
        elif line:
            problems.expected(path, f"a SHA-256, two spaces and a file's name in line {number}", repr(line[:40]))
    present = {file.relative_to(root).as_posix(): file for file in data_files(root)}
    for name in sorted(listed.keys() | present.keys()):
        if name not in present:
            problems.note(root / name, f"expected a file, because {CHECKSUMS} lists it, found none.")
        elif name not in listed:
            problems.note(root / name, f"expected a line in {CHECKSUMS}, found none.")
        elif (digest := sha256_of_file(present[name])) != listed[name]:
            problems.expected(root / name, f"SHA-256 {listed[name][:12]}…, as {CHECKSUMS} says", f"{digest[:12]}…")


def summary(dataset: Dataset, rows: Sequence[dict[str, Any]]) -> str:
    """What is in the data set, in a few lines; `rows` is what `described` says about each sample."""
    splits = Counter(row["split"] or "no split" for row in rows)
    size = sum(path.stat().st_size for path in data_files(dataset.root)) / 1e6
    return "\n".join(
        (
            f"{dataset.root}: {len(rows)} samples ({dataset.form.name})",
            "  splits: " + ", ".join(f"{name} {count}" for name, count in sorted(splits.items())),
            f"  pairs that are dragged: {sum(row['handles'] for row in rows)}; samples with a pivot: "
            f"{sum(row['pivot_given'] for row in rows)}, without a mask: {sum(row['masked'] is None for row in rows)}, "
            f"with an exact result: {sum(row['exact'] for row in rows)}",
            f"  {size:.1f} MB",
        )
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Check a data set and print what is wrong with it."""
    parser = argparse.ArgumentParser(description="Check the samples of a data set.")
    parser.add_argument("root", type=Path, help="folder of the data set, or of one sample")
    parser.add_argument("--format", default="auto", help=f"auto (default), {', '.join(known_formats())}")
    options = parser.parse_args(arguments)
    # Warnings are printed below, all of them and once.
    dataset_log.disabled = True
    try:
        dataset, rows, problems = checked(options.root, options.format)
    except RotationBenchError as error:
        print(error)
        return 1
    finally:
        dataset_log.disabled = False
    for warning in problems.warnings:
        print(f"warning: {warning}")
    if problems or dataset is None:
        print(DatasetError(problems))
        return 1
    print(summary(dataset, rows))
    print("No problems.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
