"""Reading pictures, masks, JSON and points with every problem noted instead of the first one raised."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from rotationbench.points import ImagePoints

SMALLEST_SIDE = 32
LARGEST_SIDE = 4096
LARGEST_TEXT_BYTES = 64 * 2**20
PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp")

MISSING = object()


class Problems(list[str]):
    """Sentences about what is wrong, each beginning with the path of the file it concerns."""

    def note(self, path: Path, sentence: str) -> None:
        """Note `sentence` about the file at `path`."""
        self.append(f"{path}: {sentence}")

    def expected(self, path: Path, expected: str, got: str) -> None:
        """Note that `path` should hold `expected` and holds `got`."""
        self.note(path, f"expected {expected}, got {got}.")


def described(value: Any) -> str:
    """`value` for an error message: its type and, when that is short, what it holds."""
    if value is MISSING:
        return "nothing"
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"


def dimensions(size: tuple[int, int]) -> str:
    """`size = (height, width)` as people write it."""
    return f"{size[1]} × {size[0]} (width × height)"


def first_picture(folder: Path, stem: str) -> Path:
    """The picture called `stem` in `folder`, whatever its ending; `stem.png` when there is none."""
    candidates = [folder / f"{stem}{ending}" for ending in PICTURE_ENDINGS]
    return next((path for path in candidates if path.is_file()), candidates[0])


def read_picture(path: Path, problems: Problems) -> np.ndarray | None:
    """The picture at `path` as uint8 RGB `(H, W, 3)`.

    EXIF orientation is applied, transparency is laid over white, grey and 16-bit pictures are converted. The size is
    judged from the header, so a picture of absurd size is never decoded.

    Returns:
        The picture, or None after noting in `problems` why there is none.
    """
    image = _decoded(path, problems)
    if image is None:
        return None
    if "A" in image.getbands() or "transparency" in image.info:
        with_alpha = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", with_alpha.size, (255, 255, 255, 255)), with_alpha)
    return np.array(image.convert("RGB"))


def read_mask(path: Path, problems: Problems, *, threshold: int = 127) -> np.ndarray | None:
    """The mask at `path` as bool `(H, W)`, True where its grey value exceeds `threshold`.

    Returns:
        The mask, or None after noting in `problems` why there is none.
    """
    image = _decoded(path, problems)
    if image is None:
        return None
    if "A" in image.getbands() or "transparency" in image.info:
        with_alpha = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", with_alpha.size, (0, 0, 0, 255)), with_alpha)
    grey = np.array(image.convert("L"))
    brightest = int(grey.max())
    if 0 < brightest <= threshold:
        problems.expected(path, "a mask of 0 and 255", f"values of at most {brightest}")
        return None
    return grey > threshold


def check_size(path: Path, array: np.ndarray | None, size: tuple[int, int] | None, problems: Problems) -> None:
    """Note a mask or target at `path` whose height and width differ from the picture's `size`."""
    if array is not None and size is not None and array.shape[:2] != size:
        problems.expected(path, f"the picture's size {dimensions(size)}", dimensions(array.shape[:2]))


def read_json(path: Path, problems: Problems) -> dict[str, Any] | None:
    """The JSON object at `path`, or None after noting in `problems` why there is none."""
    text = read_text(path, problems)
    if text is None:
        return None
    return parse_object(text, path, problems)


def read_text(path: Path, problems: Problems) -> str | None:
    """The UTF-8 text at `path`, or None after noting in `problems` why there is none."""
    try:
        if path.stat().st_size > LARGEST_TEXT_BYTES:
            problems.expected(path, f"at most {LARGEST_TEXT_BYTES} bytes", f"{path.stat().st_size}")
            return None
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        problems.note(path, "expected a file, found none.")
    except (OSError, UnicodeDecodeError) as error:
        problems.expected(path, "a readable UTF-8 text file", f"{type(error).__name__}: {error}")
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
    except (json.JSONDecodeError, RecursionError) as error:
        problems.expected(path, f"valid JSON{place}", f"{error}")
        return None
    if not isinstance(content, dict):
        problems.expected(path, f"a JSON object{place}", described(content))
        return None
    return content


def text_of(value: Any, key: str, path: Path, problems: Problems) -> str:
    """`value` when it is a string; otherwise an empty string, after noting the problem. Empty strings are allowed."""
    if isinstance(value, str):
        return value
    problems.expected(path, f'a string as "{key}" (it may be empty)', described(value))
    return ""


def is_number(value: Any) -> bool:
    """Whether `value` is a finite number, Python's or numpy's, and no bool."""
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    return number and math.isfinite(value)


def points_of(value: Any, key: str, path: Path, problems: Problems) -> ImagePoints | None:
    """Points from a list of `[x, y]` pairs, or None after noting in `problems` what is wrong with it."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, (list, tuple)):
        problems.expected(path, f'a list of [x, y] points as "{key}"', described(value))
        return None
    before = len(problems)
    for index, point in enumerate(value):
        pair = point.tolist() if isinstance(point, np.ndarray) else point
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not all(is_number(number) for number in pair):
            problems.expected(path, f'two finite numbers [x, y] as point {index + 1} of "{key}"', described(point))
    return None if len(problems) > before else ImagePoints.of(value)


def split_pairs(points: ImagePoints | None, key: str, path: Path, problems: Problems) -> Pairs | None:
    """Sources and targets of points that alternate between the two, or None when their number is odd."""
    if points is None:
        return None
    if len(points) % 2:
        problems.expected(path, f'an even number of points in "{key}", a source and a target each', f"{len(points)}")
        return None
    return points[::2], points[1::2]


def check_pairs(pairs: Pairs | None, size: tuple[int, int] | None, path: Path, problems: Problems) -> None:
    """Note points outside a picture of `size = (height, width)`, and pairs that leave nothing to drag."""
    if pairs is None:
        return
    sources, targets = pairs
    if len(sources) == 0:
        problems.expected(path, "at least one pair of points", "none")
    elif (sources.xy == targets.xy).all():
        problems.expected(path, "at least one pair whose source and target differ", "pivot pairs only")
    if size is None:
        return
    for label, points in (("source", sources), ("target", targets)):
        inside = ((points.xy >= 0) & (points.xy < np.array(size[::-1]))).all(axis=1)
        for index in np.flatnonzero(~inside):
            x, y = points.xy[index]
            where = f"{label} {index + 1} inside the picture of {dimensions(size)}"
            problems.expected(path, where, f"({x:g}, {y:g})")


def inner_path(folder: Path, name: Any, key: str, path: Path, problems: Problems) -> Path | None:
    """The path `folder / name`, or None after noting that `name` is no relative path that stays inside `folder`."""
    if isinstance(name, str) and name.strip():
        inner = (folder / name).resolve()
        if inner.is_relative_to(folder.resolve()):
            return folder / name
    problems.expected(path, f'the name of a file inside {folder} as "{key}"', described(name))
    return None


class _UnusableError(Exception):
    """A picture is not what was expected; its arguments are what was expected and what came."""


def _decoded(path: Path, problems: Problems) -> Image.Image | None:
    if not path.is_file():
        problems.note(path, "expected a picture, found no file.")
        return None
    try:
        return _eight_bit(_loaded(path))
    except _UnusableError as error:
        problems.expected(path, *error.args)
    except Image.DecompressionBombError as error:
        problems.expected(path, f"sides of at most {LARGEST_SIDE} pixels", f"{error}")
    except UnidentifiedImageError:
        problems.expected(path, "a picture", "a file of no known picture format")
    except Exception as error:
        problems.expected(path, "a whole picture", f"{type(error).__name__}: {error}")
    return None


def _loaded(path: Path) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(path)
    with image:
        width, height = image.size
        if not all(SMALLEST_SIDE <= side <= LARGEST_SIDE for side in image.size):
            limits = f"sides of {SMALLEST_SIDE} to {LARGEST_SIDE} pixels"
            raise _UnusableError(limits, dimensions((height, width)))
        image.load()
        if image.mode == "F":
            raise _UnusableError("8 or 16 bits per channel", "floating-point pixels")
        return ImageOps.exif_transpose(image)


def _eight_bit(image: Image.Image) -> Image.Image:
    """16-bit grey as 8-bit grey, scaled so that 65535 becomes 255; other pictures as they are."""
    if image.mode != "I" and not image.mode.startswith("I;16"):
        return image
    values = np.clip(np.array(image).astype(np.float64), 0, 65535)
    return Image.fromarray(np.round(values / 257).astype(np.uint8))


Pairs = tuple[ImagePoints, ImagePoints]
