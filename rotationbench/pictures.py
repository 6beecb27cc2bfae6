"""Reading pictures from files: known formats only, and the size judged before anything is decoded."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from rotationbench.errors import RotationBenchError
from rotationbench.files import file_fault
from rotationbench.names import printable

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "PPM", "TIFF")
"""None of them starts another program or takes its size from what it has decoded."""
LARGEST_SIDE = 4096
LARGEST_FILE_BYTES = 256 * 2**20


class PictureError(RotationBenchError):
    """A file is not the picture that was expected.

    Args:
        path: the file.
        expected: what should be there.
        got: what is there.
    """

    def __init__(self, path: Path, expected: str, got: str) -> None:
        self.expected, self.got = expected, got
        super().__init__(f"{printable(str(path))}: expected {expected}, got {got}.")


def open_picture(
    path: Path,
    *,
    smallest: int = 1,
    largest: int = LARGEST_SIDE,
    upright: bool = True,
    content: bytes | None = None,
) -> Image.Image:
    """The picture at `path`, decoded, in its own mode.

    Args:
        path: the file.
        smallest: pixels that each side has at least.
        largest: pixels that each side has at most; a larger picture is refused undecoded.
        upright: turn it as its EXIF orientation says.
        content: the file's bytes, where `path` only names a place that the system cannot open, such as one in an
            archive.

    Raises:
        PictureError: when the file is no whole picture of such a size in one of `FORMATS`.
    """
    try:
        with _header(path, smallest, largest, content) as image:
            image.load()
            if upright:
                ImageOps.exif_transpose(image, in_place=True)
            return image
    except PictureError:
        raise
    except Exception as error:
        # Decoders raise whatever they like on broken files.
        raise PictureError(path, "a whole picture", _named(error)) from error


def picture_size(path: Path, *, smallest: int = 1, largest: int = LARGEST_SIDE) -> tuple[int, int]:
    """`(height, width)` of the picture at `path` in pixels, as stored; nothing is decoded.

    Raises:
        PictureError: as `open_picture`, as far as the file's beginning shows it.
    """
    with _header(path, smallest, largest) as image:
        return image.height, image.width


def read_rgb(
    path: Path,
    *,
    smallest: int = 1,
    largest: int = LARGEST_SIDE,
    upright: bool = True,
    content: bytes | None = None,
) -> np.ndarray:
    """The picture at `path` as uint8 RGB `(H, W, 3)`; see `open_picture` for the arguments.

    Raises:
        PictureError: as `open_picture`; also for floating-point pixels.
    """
    image = open_picture(path, smallest=smallest, largest=largest, upright=upright, content=content)
    if image.mode == "F":
        raise PictureError(path, "8 or 16 bits per channel", "floating-point pixels")
    return rgb_array(image)


def rgb_array(image: Image.Image) -> np.ndarray:
    """A decoded picture as uint8 RGB `(H, W, 3)`: transparency over white, 16-bit grey scaled so that 65535 is 255."""
    if is_sixteen_bit(image):
        values = np.clip(np.array(image).astype(np.float64), 0, 65535)
        image = Image.fromarray(np.round(values / 257).astype(np.uint8))
    if has_alpha(image):
        with_alpha = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", with_alpha.size, (255, 255, 255, 255)), with_alpha)
    return np.array(image.convert("RGB"))


def has_alpha(image: Image.Image) -> bool:
    """Whether a picture has transparency, as a channel or as a transparent colour."""
    return "A" in image.getbands() or "transparency" in image.info


def is_sixteen_bit(image: Image.Image) -> bool:
    """Whether a picture is grey with more than 8 bits."""
    return image.mode == "I" or image.mode.startswith("I;16")


def dimensions(size: tuple[int, int]) -> str:
    """`size = (height, width)` as people write it."""
    return f"{size[1]} × {size[0]} (width × height)"


def _header(path: Path, smallest: int, largest: int, content: bytes | None = None) -> Image.Image:
    if content is None and (fault := file_fault(path)):
        raise PictureError(path, "a picture", fault)
    limits = f"sides of {smallest} to {largest} pixels"
    try:
        if (size := path.stat().st_size if content is None else len(content)) > LARGEST_FILE_BYTES:
            raise PictureError(path, f"a picture of at most {LARGEST_FILE_BYTES} bytes", f"{size}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(path if content is None else io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise PictureError(path, limits, _named(error)) from error
    except UnidentifiedImageError as error:
        raise PictureError(path, "a picture", f"a file of no known picture format ({', '.join(FORMATS)})") from error
    except PictureError:
        raise
    except Exception as error:
        raise PictureError(path, "a whole picture", _named(error)) from error
    if not all(smallest <= side <= largest for side in image.size):
        image.close()
        raise PictureError(path, limits, dimensions((image.height, image.width)))
    return image


def _named(error: Exception) -> str:
    return printable(f"{type(error).__name__}: {error}"[:200])
