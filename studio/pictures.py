"""Uploaded pictures and masks: bounded before they are decoded, and kept as they were decoded."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from rotationbench.datasets.masks import read_mask
from rotationbench.datasets.reading import SMALLEST_SIDE, Problems
from rotationbench.errors import RotationBenchError
from rotationbench.files import write_image
from rotationbench.pictures import PictureError, dimensions, open_picture, picture_size, read_rgb


class UploadError(RotationBenchError):
    """What came from the page cannot be used."""


class PictureShelf:
    """The pictures that the page works on, by their content, in a folder that goes with the studio.

    Args:
        most: pictures kept at a time; the one that was used longest ago goes first.
        most_pixels: of a picture.
    """

    def __init__(self, most: int, most_pixels: int) -> None:
        self.most, self.most_pixels = most, most_pixels
        self._folder = tempfile.TemporaryDirectory(prefix="rotationbench-studio-")
        self._kept: dict[str, tuple[int, int]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def close(self) -> None:
        """Remove everything."""
        self._folder.cleanup()

    def take(self, content: bytes) -> tuple[str, tuple[int, int]]:
        """Decode an uploaded picture and keep it.

        Returns:
            Its name and its size `(height, width)` in pixels.

        Raises:
            UploadError: when it is no picture of a known format, too small or too large.
        """
        with self._written(content) as path:
            try:
                self._check_area(path)
                image = read_rgb(path, smallest=SMALLEST_SIDE)
            except PictureError as error:
                raise UploadError(f"the picture: expected {error.expected}, got {error.got}.") from error
        return self.keep(image)

    def keep(self, image: np.ndarray) -> tuple[str, tuple[int, int]]:
        """Keep a picture uint8 `(H, W, 3)`; see `take`."""
        digest = hashlib.sha256(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()).hexdigest()
        size = image.shape[0], image.shape[1]
        with self._lock:
            if digest not in self._kept:
                write_image(self._path(digest), image)
            self._kept.pop(digest, None)
            self._kept[digest] = size
            while len(self._kept) > self.most:
                oldest = next(iter(self._kept))
                del self._kept[oldest]
                self._path(oldest).unlink(missing_ok=True)
        return digest, size

    def content(self, name: str) -> bytes:
        """The picture called `name` as a PNG.

        Raises:
            UploadError: when there is none.
        """
        with self._lock:
            if name not in self._kept:
                raise UploadError("the picture: expected one that is kept here, got another; open it again.")
            self._kept[name] = self._kept.pop(name)
            return self._path(name).read_bytes()

    def image(self, name: str) -> np.ndarray:
        """The picture called `name`, uint8 `(H, W, 3)`; see `content`."""
        with Image.open(io.BytesIO(self.content(name)), formats=("PNG",)) as image:
            return np.array(image.convert("RGB"))

    def mask_of_upload(self, content: bytes, size: tuple[int, int]) -> np.ndarray | None:
        """The mask bool `(H, W)` in an uploaded file, as data sets' masks are read; None for a black one.

        Raises:
            UploadError: when it is no mask, or not of the picture's `size = (height, width)`.
        """
        problems = Problems()
        with self._written(content) as path:
            try:
                self._check_area(path)
            except PictureError as error:
                raise UploadError(f"the mask: expected {error.expected}, got {error.got}.") from error
            mask = read_mask(path, problems, size)
        if problems:
            raise UploadError("; ".join(problem.replace(f"{path}: ", "the mask: ") for problem in problems))
        return mask

    def _check_area(self, path: Path) -> None:
        height, width = picture_size(path)
        if height * width > self.most_pixels:
            raise PictureError(path, f"at most {self.most_pixels} pixels", dimensions((height, width)))

    def _path(self, digest: str) -> Path:
        return Path(self._folder.name) / f"{digest}.png"

    @contextmanager
    def _written(self, content: bytes) -> Iterator[Path]:
        """What was uploaded, as a file under a name of ours."""
        with tempfile.TemporaryDirectory(dir=self._folder.name) as folder:
            path = Path(folder) / "upload"
            path.write_bytes(content)
            yield path


def mask_of_text(text: str | None, size: tuple[int, int], what: str) -> np.ndarray | None:
    """The mask bool `(H, W)` in a PNG in base64, as the page sends it: white where it is; None for none or a black one.

    Args:
        text: base64.
        size: `(height, width)` that it must have; what is larger is not decoded.
        what: names the mask in messages.

    Raises:
        UploadError: when it is no such mask.
    """
    if text is None:
        return None
    try:
        content = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise UploadError(f"{what}: expected a PNG in base64, got something else.") from error
    with tempfile.TemporaryDirectory(prefix="rotationbench-studio-") as folder:
        path = Path(folder) / "mask.png"
        path.write_bytes(content)
        try:
            if (got := picture_size(path)) != size:
                raise UploadError(f"{what}: expected the picture's size {dimensions(size)}, got {dimensions(got)}.")
            levels = np.array(open_picture(path, upright=False).convert("L"))
        except PictureError as error:
            raise UploadError(f"{what}: expected {error.expected}, got {error.got}.") from error
    mask = levels > 127
    return mask if mask.any() else None


def text_of_mask(mask: np.ndarray | None) -> str | None:
    """A mask bool `(H, W)` as a PNG in base64, white where it is; None stays None."""
    return None if mask is None else base64.b64encode(png_of(mask.astype(np.uint8) * 255)).decode("ascii")


def png_of(image: np.ndarray) -> bytes:
    """A picture uint8 `(H, W, 3)` or `(H, W)` as a PNG."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def thumbnail_of(image: np.ndarray, side: int) -> bytes:
    """A picture uint8 `(H, W, 3)` as a JPEG whose sides are at most `side` pixels."""
    stream = io.BytesIO()
    picture = Image.fromarray(image)
    picture.thumbnail((side, side))
    picture.save(stream, "JPEG", quality=82)
    return stream.getvalue()
