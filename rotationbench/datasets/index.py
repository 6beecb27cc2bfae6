"""Index and checksums of a data set: `python -m rotationbench.datasets.index PATH` writes both anew."""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rotationbench.datasets.dataset import Dataset, open_dataset
from rotationbench.errors import RotationBenchError
from rotationbench.files import sha256_of_file, whole_file
from rotationbench.sample import DragSample

INDEX = "index.csv"
CHECKSUMS = "SHA256SUMS"


def described(sample: DragSample) -> dict[str, Any]:
    """One row of the index: what a table or a plot about the data set needs to know about a sample.

    `handles` counts the pairs that are dragged, `distance` is the mean length of those drags in pixels, `masked` the
    share of the picture that may change, and `exact` says whether there is an exact result.
    """
    moving = ~sample.is_pivot
    distances = np.linalg.norm((sample.targets.xy - sample.sources.xy)[moving], axis=1)
    height, width = sample.size
    return {
        "name": sample.name,
        "split": sample.meta.split,
        "category": sample.meta.category,
        "kind": sample.meta.extra.get("kind"),
        "difficulty": sample.meta.difficulty,
        "width": width,
        "height": height,
        "handles": int(moving.sum()),
        "pivot_given": bool(sample.is_pivot.any()),
        "angle": sample.meta.angle,
        "distance": round(float(distances.mean()), 1),
        "masked": None if sample.mask is None else round(float(sample.mask.mean()), 4),
        "exact": sample.target is not None,
        "licence": sample.meta.licence,
        "prompt": sample.prompt,
    }


def index_text(rows: Sequence[dict[str, Any]]) -> str:
    """The content of `index.csv`: what `described` says about each sample, in the samples' order."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]) if rows else ["name"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def checksum_text(root: Path) -> str:
    """The content of `SHA256SUMS`: a line for every file of `data_files`, as `sha256sum --check` reads it."""
    return "".join(f"{sha256_of_file(path)}  {path.relative_to(root).as_posix()}\n" for path in data_files(root))


def data_files(root: Path) -> Iterator[Path]:
    """Every file below `root` that is neither hidden nor the list of checksums, by path."""
    for path in sorted(root.rglob("*"), key=lambda path: path.relative_to(root).as_posix()):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if path.is_file() and not hidden and path != root / CHECKSUMS:
            yield path


def write_index(root: Path, dataset: Dataset) -> None:
    """Write `index.csv` and then `SHA256SUMS` into `root`."""
    for name, text in (
        (INDEX, lambda: index_text([described(sample) for sample in dataset])),
        (CHECKSUMS, lambda: checksum_text(root)),
    ):
        with whole_file(root / name) as temporary:
            temporary.write_text(text(), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the index and the checksums; the exit status is 1 when the samples have problems."""
    parser = argparse.ArgumentParser(
        description="Write index.csv and SHA256SUMS of a data set in RotationBench folders."
    )
    parser.add_argument("root", type=Path, help="folder of the data set")
    options = parser.parse_args(arguments)
    try:
        dataset = open_dataset(options.root, "rotationbench", split="any")
    except RotationBenchError as error:
        print(error)
        return 1
    write_index(options.root, dataset)
    print(f"{options.root}: indexed {len(dataset)} samples.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
