"""Reading pictures, JSON, numbers, texts and points with every problem noted instead of the first one raised."""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from rotationbench.files import file_fault
from rotationbench.names import printable
from rotationbench.pictures import PictureError, dimensions, read_rgb
from rotationbench.points import ImagePoints

SMALLEST_SIDE = 32
LARGEST_TEXT_BYTES = 2**20
LARGEST_LISTING_BYTES = 16 * 2**20
LONGEST_PROMPT_BYTES = 10_000
LONGEST_WORD_BYTES = 1_000
"""For categories, licences and the like."""
LARGEST_NUMBER = 1e9
LARGEST_ANGLE = 360.0
FARTHEST_PIVOT = 100_000.0
MOST_POINTS = 100_000
MOST_EXTRA_DEPTH = 16
NOTED_POINTS = 10

MISSING = object()

_repr = reprlib.Repr()
_repr.maxlevel, _repr.maxlist, _repr.maxtuple, _repr.maxdict = 3, 5, 5, 3
_repr.maxstring = _repr.maxlong = _repr.maxother = 50


class Problems(list[str]):
    """Sentences about what is wrong, each beginning with the path of the file it concerns.

    `warnings` holds sentences about what was read all the same, and how.
    """

    def __init__(self, sentences: Iterable[str] = ()) -> None:
        super().__init__(sentences)
        self.warnings: list[str] = []

    def note(self, path: Path, sentence: str) -> None:
        """Note `sentence` about the file at `path`."""
        self.append(printable(f"{path}: {sentence}"))

    def expected(self, path: Path, expected: str, got: str) -> None:
        """Note that `path` should hold `expected` and holds `got`."""
        self.note(path, f"expected {expected}, got {got}.")

    def warn(self, path: Path, sentence: str) -> None:
        """Note how something doubtful in the file at `path` was read."""
        self.warnings.append(printable(f"{path}: {sentence}"))


def described(value: Any) -> str:
    """`value` for an error message: its type and, when that is short, what it holds."""
    if value is MISSING:
        return "nothing"
    text = _repr.repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"


def read_picture(path: Path, problems: Problems) -> np.ndarray | None:
    """The picture at `path` as uint8 RGB `(H, W, 3)`.

    EXIF orientation is applied, transparency is laid over white, grey and 16-bit pictures are converted. The size is
    judged from the header, so a picture of absurd size is never decoded.

    Returns:
        The picture, or None after noting in `problems` why there is none.
    """
    try:
        return read_rgb(path, smallest=SMALLEST_SIDE)
    except PictureError as error:
        note_picture(path, error, problems)
    return None


def note_picture(path: Path, error: PictureError, problems: Problems) -> None:
    """Note why there is no picture at `path`."""
    if error.got == "no file":
        problems.note(path, f"expected {error.expected}, found no file.")
    else:
        problems.expected(path, error.expected, error.got)


def check_size(path: Path, array: np.ndarray | None, size: tuple[int, int] | None, problems: Problems) -> None:
    """Note a mask or target at `path` whose height and width differ from the picture's `size`."""
    if array is not None and size is not None and array.shape[:2] != size:
        problems.expected(path, f"the picture's size {dimensions(size)}", dimensions(array.shape[:2]))


def read_json(path: Path, problems: Problems, *, largest: int = LARGEST_TEXT_BYTES) -> dict[str, Any] | None:
    """The JSON object at `path`, or None after noting in `problems` why there is none."""
    text = read_text(path, problems, largest=largest)
    if text is None:
        return None
    return parse_object(text, path, problems)


def read_text(path: Path, problems: Problems, *, largest: int = LARGEST_TEXT_BYTES) -> str | None:
    """The UTF-8 text at `path`, of at most `largest` bytes, or None after noting in `problems` why there is none."""
    content = read_bytes(path, problems, largest=largest)
    if content is None:
        return None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problems.expected(path, "a readable UTF-8 text file", f"{type(error).__name__}: {error}")
    return None


def read_bytes(path: Path, problems: Problems, *, largest: int) -> bytes | None:
    """The bytes of the file at `path`, or None after noting in `problems` why there are none."""
    fault = file_fault(path)
    if fault is not None:
        problems.note(path, f"expected a file, found {'none' if fault == 'no file' else fault}.")
        return None
    try:
        size = path.stat().st_size
        if size <= largest:
            return path.read_bytes()
        problems.expected(path, f"at most {largest} bytes", f"{size}")
    except OSError as error:
        problems.expected(path, "a readable file", f"{type(error).__name__}: {error.strerror}")
    return None


def parse_object(text: str, path: Path, problems: Problems, *, line: int | None = None) -> dict[str, Any] | None:
    """The JSON object in `text`, or None after noting in `problems` what is wrong with it.

    Args:
        text: the JSON.
        path: the file it is from.
        problems: where a problem is noted.
        line: the line of the file, for formats with an object per line.
    """
    place = "" if line is None else f" in line {line}"
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        problems.expected(path, f"valid JSON{place}", f"{error}")
        return None
    if not isinstance(content, dict):
        problems.expected(path, f"a JSON object{place}", described(content))
        return None
    return content


def text_of(value: Any, key: str, path: Path, problems: Problems, *, longest: int = LONGEST_PROMPT_BYTES) -> str:
    """`value` when it is a string; otherwise an empty string, after noting the problem. Empty strings are allowed."""
    if not isinstance(value, str):
        problems.expected(path, f'a string as "{key}" (it may be empty)', described(value))
    elif fault := text_fault(value, longest):
        problems.expected(path, f'{fault[0]} as "{key}"', fault[1])
    else:
        return value
    return ""


def text_fault(text: str, longest: int) -> tuple[str, str] | None:
    """What a text of at most `longest` bytes should be and what it is instead; None when nothing is wrong with it."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return "text that UTF-8 can write", f"a lone surrogate in {described(text)}"
    if size > longest:
        return f"a text of at most {longest} bytes", f"{size} bytes"
    return ("text without NUL", described(text)) if "\0" in text else None


def check_extra(content: dict[str, Any], path: Path, problems: Problems) -> dict[str, Any]:
    """`content` when JSON can hold all of it for good; otherwise an empty one, after noting the first problem.

    Refused are NaN and infinity, whole numbers beyond 64 bits, lone surrogates, NUL, and deep nesting.
    """
    waiting: list[tuple[Any, int]] = [(content, 0)]
    while waiting:
        value, depth = waiting.pop()
        fault: tuple[str, str] | None = None
        if isinstance(value, str):
            fault = text_fault(value, LARGEST_TEXT_BYTES)
        elif isinstance(value, float) and not math.isfinite(value):
            fault = "finite numbers", described(value)
        elif isinstance(value, int) and abs(value) >= 2**63:
            fault = "whole numbers of at most 64 bits", f"one of {value.bit_length()} bits"
        elif isinstance(value, (dict, list)) and depth >= MOST_EXTRA_DEPTH:
            fault = f"at most {MOST_EXTRA_DEPTH} levels of nesting", "more"
        elif isinstance(value, dict):
            waiting += [(part, depth + 1) for item in value.items() for part in item]
        elif isinstance(value, list):
            waiting += [(part, depth + 1) for part in value]
        if fault is not None:
            problems.expected(path, *fault)
            return {}
    return content


def is_number(value: Any, largest: float = LARGEST_NUMBER) -> bool:
    """Whether `value` is a finite number, Python's or numpy's and no bool, of at most `largest` in either direction."""
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    return number and -largest <= value <= largest


def whole_number_of(value: Any, key: str, path: Path, problems: Problems) -> int | None:
    """`value` when it is None or a positive whole number; otherwise None, after noting the problem."""
    if value is None or (isinstance(value, int) and is_number(value) and value >= 1):
        return value
    problems.expected(path, f'a positive whole number as "{key}"', described(value))
    return None


def angle_of(value: Any, path: Path, problems: Problems) -> float | None:
    """`value` in degrees when it is None or a number within ±360; otherwise None, after noting the problem."""
    if value is None:
        return None
    if is_number(value, LARGEST_ANGLE):
        return float(value)
    problems.expected(path, f'a finite number of degrees as "angle", within ±{LARGEST_ANGLE:g}', described(value))
    return None


def point_of(value: Any, key: str, path: Path, problems: Problems) -> tuple[float, float] | None:
    """`(x, y)` when `value` is None or a point that may lie outside the picture; otherwise None, after noting it."""
    if value is None:
        return None
    if isinstance(value, (list, tuple)) and len(value) == 2 and all(is_number(part, FARTHEST_PIVOT) for part in value):
        return float(value[0]), float(value[1])
    limit = f"within ±{FARTHEST_PIVOT:g}"
    problems.expected(path, f'two finite numbers [x, y] as "{key}", {limit}', described(value))
    return None


def points_of(value: Any, key: str, path: Path, problems: Problems) -> ImagePoints | None:
    """Points from a list of `[x, y]` pairs, or None after noting in `problems` what is wrong with it."""
    if not isinstance(value, (list, tuple, np.ndarray)) or (isinstance(value, np.ndarray) and value.ndim == 0):
        problems.expected(path, f'a list of [x, y] points as "{key}"', described(value))
        return None
    if len(value) > MOST_POINTS:
        problems.expected(path, f'at most {MOST_POINTS} points as "{key}"', f"{len(value)}")
        return None
    points, bad = [], 0
    for index, point in enumerate(value):
        pair = point.tolist() if isinstance(point, np.ndarray) and point.size == 2 else point
        if isinstance(pair, (list, tuple)) and len(pair) == 2 and all(is_number(number) for number in pair):
            points.append((float(pair[0]), float(pair[1])))
            continue
        bad += 1
        if bad <= NOTED_POINTS:
            problems.expected(path, f'two finite numbers [x, y] as point {index + 1} of "{key}"', described(point))
    if bad > NOTED_POINTS:
        problems.expected(path, f'two finite numbers [x, y] as each point of "{key}"', f"{bad} others")
    return None if bad else ImagePoints.of(points)


def split_pairs(points: ImagePoints | None, key: str, path: Path, problems: Problems) -> Pairs | None:
    """Sources and targets of points that alternate between the two, or None when their number is odd."""
    if points is None:
        return None
    if len(points) % 2:
        problems.expected(path, f'an even number of points in "{key}", a source and a target each', f"{len(points)}")
        return None
    return points[::2], points[1::2]


def joined_pairs(
    sources: ImagePoints | None, targets: ImagePoints | None, path: Path, problems: Problems
) -> Pairs | None:
    """Sources and targets from two lists, or None when one has more than the other."""
    if sources is None or targets is None:
        return None
    if len(sources) != len(targets):
        problems.expected(path, f"as many targets as sources, {len(sources)}", f"{len(targets)}")
        return None
    return sources, targets


def check_pairs(pairs: Pairs | None, size: tuple[int, int] | None, path: Path, problems: Problems) -> None:
    """Note points outside a picture of `size = (height, width)`, and pairs that leave nothing to drag."""
    if pairs is None:
        return
    sources, targets = pairs
    if len(sources) == 0:
        problems.expected(path, "at least one pair of points", "none")
    elif (sources.xy == targets.xy).all():
        problems.expected(path, "at least one pair whose source and target differ", "pivot pairs only")
    check_inside(pairs, size, path, problems)


def check_inside(pairs: Pairs, size: tuple[int, int] | None, path: Path, problems: Problems) -> None:
    """Note points outside a picture of `size = (height, width)`."""
    if size is None:
        return
    for label, points in zip(("source", "target"), pairs, strict=True):
        inside = ((points.xy >= 0) & (points.xy < np.array(size[::-1]))).all(axis=1)
        outside = np.flatnonzero(~inside)
        for index in outside[:NOTED_POINTS]:
            x, y = points.xy[index]
            where = f"{label} {index + 1} inside the picture of {dimensions(size)}"
            problems.expected(path, where, f"({x:g}, {y:g})")
        if len(outside) > NOTED_POINTS:
            problems.expected(
                path, f"every {label} inside the picture of {dimensions(size)}", f"{len(outside)} outside"
            )


def inner_path(folder: Path, name: Any, key: str, path: Path, problems: Problems) -> Path | None:
    """The path `folder / name`, or None after noting that `name` is no relative path that stays inside `folder`."""
    if isinstance(name, str) and name.strip() and text_fault(name, LONGEST_WORD_BYTES) is None:
        try:
            if (folder / name).resolve().is_relative_to(folder.resolve()):
                return folder / name
        except (OSError, RuntimeError, ValueError):
            pass
    problems.expected(path, f'the name of a file inside {folder} as "{key}"', described(name))
    return None


Pairs = tuple[ImagePoints, ImagePoints]
