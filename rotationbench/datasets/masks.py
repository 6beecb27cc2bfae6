"""Reading masks as the field's tools write them: 0 and 255, soft, transparent, black when none was drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rotationbench.datasets.reading import SMALLEST_SIDE, Problems, check_size, described, note_picture
from rotationbench.pictures import PictureError, dimensions, has_alpha, is_sixteen_bit, open_picture

Size = tuple[int, int]

HALF = 127
SAME_COLOUR = 8
"""Levels by which the pixels of one brush may differ."""


def read_mask(
    path: Path, problems: Problems, size: Size | None = None, *, above: int = HALF, may_be_black: bool = True
) -> np.ndarray | None:
    """The mask at `path` as bool `(H, W)`.

    A mask of two levels is True above `above`. One with more levels, or a JPEG, is True above 127, with a warning: what
    compression and blur leave near black is no mask. In a picture of one colour and varying transparency the
    transparency is the mask; in an opaque one the brightest channel is.

    Args:
        path: the picture.
        problems: where problems and warnings are noted.
        size: `(height, width)` that it must have; None when the picture could not be read.
        above: the level of 255 that a mask of two levels has to exceed.
        may_be_black: read a black mask as none, with a warning; otherwise it is a mask of nothing.

    Returns:
        The mask, or None when none is drawn, or after noting in `problems` why there is none.
    """
    try:
        image = open_picture(path, smallest=SMALLEST_SIDE)
        levels = _levels(image, path)
    except PictureError as error:
        note_picture(path, error, problems)
        return None
    check_size(path, levels, size, problems)
    if not levels.any():
        if may_be_black:
            _warn_of_black(path, problems)
        return None if may_be_black else levels > 0
    distinct = len(np.unique(levels))
    if distinct > 2 or image.format == "JPEG":
        above = HALF
        problems.warn(path, f"a soft mask of {distinct} levels; it is read as may change where above {HALF}.")
    brightest = float(levels.max())
    if brightest <= above:
        problems.expected(path, "a mask of 0 and 255", f"values of at most {_as_stored(brightest, image)}")
        return None
    return levels > above


def mask_of_array(
    value: Any, size: Size | None, path: Path, problems: Problems, *, may_be_black: bool = True
) -> np.ndarray | None:
    """The mask in an array `(H, W)` or `(H, W, C)`, bool `(H, W)`, True where its first channel is above 0.

    Args:
        value: what the file holds.
        size: `(height, width)` that it must have; None when the picture could not be read.
        path: the file.
        problems: where problems and warnings are noted.
        may_be_black: as in `read_mask`.
    """
    if value is None:
        return None
    if (
        not isinstance(value, np.ndarray)
        or value.ndim not in (2, 3)
        or value.dtype.kind not in "buif"
        or 0 in value.shape
    ):
        got = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else described(value)
        problems.expected(path, 'a numeric array (H, W) as "mask"', got)
        return None
    if size is not None and value.shape[:2] != size:
        problems.expected(path, f"the picture's size {dimensions(size)}", dimensions(value.shape[:2]))
        return None
    levels = value if value.ndim == 2 else value[..., 0]
    if not np.isfinite(levels).all():
        problems.expected(path, 'finite numbers as "mask"', "NaN or infinity")
        return None
    mask = levels > 0
    if may_be_black and not mask.any():
        _warn_of_black(path, problems)
        return None
    return mask


def _warn_of_black(path: Path, problems: Problems) -> None:
    problems.warn(path, "a black mask, which means that none was drawn; the whole picture may change.")


def _levels(image: Image.Image, path: Path) -> np.ndarray:
    """Levels of 255, `(H, W)`; 16-bit values lie between whole levels."""
    if image.mode == "F":
        raise PictureError(path, "8 or 16 bits per channel", "floating-point pixels")
    if is_sixteen_bit(image):
        return np.clip(np.array(image).astype(np.float32), 0, 65535) / 257
    if not has_alpha(image):
        return np.array(image.convert("L")) if image.mode in ("1", "L") else np.array(image.convert("RGB")).max(axis=2)
    rgba = np.array(image.convert("RGBA"))
    colour, alpha = rgba[..., :3], rgba[..., 3]
    if alpha.min() == alpha.max() > 0:
        return colour.max(axis=2)
    # Faint edges of a brush hold colours that are rounded beyond use.
    painted = colour[alpha > HALF]
    if len(painted) and (painted.max(axis=0).astype(int) - painted.min(axis=0)).max() > SAME_COLOUR:
        raise PictureError(path, "a mask, opaque or painted in one colour", "a picture of several colours with holes")
    return alpha


def _as_stored(level: float, image: Image.Image) -> str:
    return f"{level * 257:.0f} of 65535" if is_sixteen_bit(image) else f"{level:.0f}"
