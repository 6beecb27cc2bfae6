"""Which files are edits of which samples, and what came along with them."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from rotationbench.datasets.folders import FOREIGN_ENDINGS, PICTURE_ENDINGS
from rotationbench.datasets.reading import LARGEST_LISTING_BYTES, Problems, note_picture
from rotationbench.errors import DatasetError
from rotationbench.foreign.files import Files
from rotationbench.names import folded, shortened
from rotationbench.pictures import LARGEST_FILE_BYTES, PictureError, read_rgb

ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
EDITED = "edited"
SECONDS_FILE = "seconds.csv"
MOST_SECONDS = 1e7
SHOWN_STRANGERS = 20


@dataclass(frozen=True, eq=False)
class ForeignPicture:
    """An edit that was made elsewhere, as it was found.

    Args:
        file: its path in the folder or archive.
        digest: SHA-256 of the file.
        image: uint8 `(H, W, 3)`, RGB, at its own size.
    """

    file: str
    digest: str
    image: np.ndarray


@dataclass(frozen=True, eq=False)
class ForeignEdits:
    """What lies in a folder or an archive of edits.

    Args:
        files: the folder or archive.
        pictures: by sample, the file with its edit.
        seconds: by sample, how long the edit took, as far as `seconds.csv` says so.
    """

    files: Files
    pictures: dict[str, PurePosixPath]
    seconds: dict[str, float]

    def read(self, sample: str) -> ForeignPicture:
        """The edit of a sample; each call reads it anew.

        Raises:
            DatasetError: when the file is no whole picture of a size that is read.
        """
        problems, name = Problems(), self.pictures[sample]
        place = self.files.place(name)
        content = self.files.read(name, problems, largest=LARGEST_FILE_BYTES)
        if content is not None:
            try:
                return ForeignPicture(str(name), hashlib.sha256(content).hexdigest(), read_rgb(place, content=content))
            except PictureError as error:
                note_picture(place, error, problems)
        raise DatasetError(problems)

    def problems(self, samples: Sequence[str]) -> list[str]:
        """What is wrong with the pictures of samples; reads each once."""
        problems = Problems()
        for sample in samples:
            try:
                self.read(sample)
            except DatasetError as error:
                problems += error.problems
        return problems


def find_edits(files: Files, samples: Sequence[str]) -> ForeignEdits:
    """The edits of `samples` among `files`: `<sample>.png`, `.jpg` or `.webp`, or `<sample>/edited.png` and the like.

    Beside it in a sample's folder may lie whatever made it. A folder around all of it is seen through.

    Args:
        files: a folder or an archive.
        samples: the names of all samples of the data set.

    Raises:
        DatasetError: naming every file that belongs to no sample, every sample with several edits, and everything that
            is wrong with `seconds.csv`.
    """
    by_name = {folded(name): name for name in samples}
    paths = {name: name.parts for name in files.names()}
    tops = {parts[0] for parts in paths.values()}
    if len(tops) == 1 and folded(next(iter(tops))) not in by_name and all(len(parts) > 1 for parts in paths.values()):
        paths = {name: parts[1:] for name, parts in paths.items()}
    problems = Problems()
    found: dict[str, list[PurePosixPath]] = {}
    strangers: dict[PurePosixPath, None] = {}
    listing = None
    for name, parts in paths.items():
        inner = PurePosixPath(parts[-1])
        sample = by_name.get(folded(inner.stem if len(parts) == 1 else parts[0]))
        if len(parts) == 1 and folded(inner.name) == SECONDS_FILE:
            listing = name
        elif sample is None:
            # Of a folder, its own name says what is wrong.
            strangers[PurePosixPath(*name.parts[: len(name.parts) - len(parts) + 1])] = None
        elif len(parts) == 1 or (len(parts) == 2 and _is_called_edited(inner)):
            if inner.suffix.lower() in ENDINGS:
                found.setdefault(sample, []).append(name)
            else:
                strangers[name] = None
    for stranger in list(strangers)[:SHOWN_STRANGERS]:
        wanted = f"the edit of a sample, as <sample>{'|'.join(ENDINGS)} or <sample>/{EDITED}{ENDINGS[0]}"
        problems.expected(files.place(stranger), wanted, f"{shortened(stranger.name)}, which is none")
    if len(strangers) > SHOWN_STRANGERS:
        problems.append(f"{len(strangers) - SHOWN_STRANGERS} more belong to no sample.")
    for sample, names in found.items():
        if len(names) > 1:
            problems.expected(files.place(names[0]), f"one edit of {sample}", " and ".join(map(str, names)))
    seconds = {} if listing is None else _read_seconds(files, listing, by_name, problems)
    if problems:
        raise DatasetError(problems)
    return ForeignEdits(files, {sample: names[0] for sample, names in found.items()}, seconds)


def _is_called_edited(file: PurePosixPath) -> bool:
    """Whether a file in a sample's folder is an edited picture, be it one that is read or not."""
    return folded(file.stem) == EDITED and file.suffix.lower() in PICTURE_ENDINGS + FOREIGN_ENDINGS


def _read_seconds(files: Files, name: PurePosixPath, by_name: dict[str, str], problems: Problems) -> dict[str, float]:
    """What `seconds.csv` says: a sample and its seconds in each line; a first line of headings is passed over."""
    place = files.place(name)
    content = files.read(name, problems, largest=LARGEST_LISTING_BYTES)
    if content is None:
        return {}
    found: dict[str, float] = {}
    try:
        rows = [
            row
            for row in csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))
            if any(cell.strip() for cell in row)
        ]
    except (UnicodeDecodeError, csv.Error) as error:
        problems.expected(place, "a table in UTF-8, a sample and its seconds in each line", str(error))
        return {}
    for number, row in enumerate(rows, start=1):
        cells = [cell.strip() for cell in row]
        seconds = _number(cells[1]) if len(cells) == 2 else None
        if number == 1 and len(cells) == 2 and seconds is None and folded(cells[0]) not in by_name:
            continue
        sample = by_name.get(folded(cells[0]))
        if seconds is None or not 0 <= seconds <= MOST_SECONDS:
            problems.expected(
                place, f"a sample and its seconds, 0 to {MOST_SECONDS:g}, in row {number}", shortened(",".join(row))
            )
        elif sample is None:
            problems.expected(place, f"the name of a sample in row {number}", shortened(cells[0]))
        elif sample in found:
            problems.expected(place, "each sample once", f"{shortened(cells[0])} again in row {number}")
        else:
            found[sample] = seconds
    return found


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
