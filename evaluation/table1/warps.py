"""Warps of one type at a time about the centre of a crop, chosen so that the picture's border is never visible."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import cv2
import numpy as np

from rotationbench.errors import ConfigError
from rotationbench.rotation import rotation_matrix

KINDS = ("scaling", "rotation", "perspective", "translation")

CELL = 8
"""Sides of crops are multiples of this many pixels, the cell of SuperPoint and of latent diffusion models."""

SMALLEST_CROP = 64
"""Short side in pixels below which a crop has too little content to be worth matching."""

SCALINGS, ROTATIONS = (0.01, 100.0), (-180.0, 180.0)
"""Bounds of what factors and angles may be drawn from."""

BORDER = 3
"""Pixels kept between a warped crop and the picture's border: a half for odd sides, the rest for interpolation."""


@dataclass
class WarpRanges:
    """From which ranges warps are drawn.

    Args:
        scaling: smallest and largest factor; log-uniform between them, so that halving is as likely as doubling.
        rotation: smallest and largest angle in degrees, uniform; positive from +x to +y, clockwise on the screen.
        perspective: largest strength ρ in [0, 1), uniform from 0: a projective map without any affine part whose
            denominator varies over the warped crop by ±ρ, tilted towards a uniformly drawn direction.
        translation: largest shift along each axis as a fraction of the crop's side, uniform.

    Raises:
        ConfigError: when a range is empty or outside what the type allows.
    """

    scaling: tuple[float, float] = (2 / 3, 1.5)
    rotation: tuple[float, float] = (-180.0, 180.0)
    perspective: float = 1 / 3
    translation: float = 0.25

    def __post_init__(self) -> None:
        for name, (low, high) in (("scaling", SCALINGS), ("rotation", ROTATIONS)):
            value = getattr(self, name)
            if len(value) != 2 or not low <= value[0] <= value[1] <= high:
                wanted = f"[smallest, largest] from {low:g} to {high:g}"
                raise ConfigError(f"warps.{name}: expected {wanted}, got {list(value)}.")
        if not 0 <= self.perspective < 1:
            raise ConfigError(f"warps.perspective: expected 0 <= strength < 1, got {self.perspective}.")
        if not 0 <= self.translation < 1:
            raise ConfigError(f"warps.translation: expected a fraction from 0 to below 1, got {self.translation}.")


@dataclass(frozen=True, eq=False)
class Warp:
    """One warp of a crop.

    Args:
        kind: one of `KINDS`.
        homography: float64 `(3, 3)`; maps pixel centres of the reference crop to pixel centres of the warped crop.
        amount: the factor, the angle in degrees, the strength ρ, or the length of the shift in pixels.
        direction: where a perspective or a translation points, in degrees from +x to +y; None for the others.
    """

    kind: str
    homography: np.ndarray
    amount: float
    direction: float | None = None


@dataclass(frozen=True)
class Crop:
    """A rectangle of whole pixels: `left` and `top` of its first pixel, `height` and `width`, all in pixels."""

    left: int
    top: int
    height: int
    width: int

    @property
    def size(self) -> tuple[int, int]:
        """`(height, width)` in pixels."""
        return self.height, self.width

    @property
    def corners(self) -> np.ndarray:
        """float64 `(4, 2)`: centres of the corner pixels, `(x, y)` within the crop, clockwise from the top left.

        >>> Crop(left=5, top=5, height=3, width=4).corners.tolist()
        [[0.0, 0.0], [3.0, 0.0], [3.0, 2.0], [0.0, 2.0]]
        """
        right, bottom = self.width - 1, self.height - 1
        return np.array([[0, 0], [right, 0], [right, bottom], [0, bottom]], dtype=np.float64)

    def cut(self, picture: np.ndarray) -> np.ndarray:
        """The crop of `picture` `(H, W, ...)`, without resampling."""
        return np.ascontiguousarray(picture[self.top : self.top + self.height, self.left : self.left + self.width])


def centre_crop(picture_size: tuple[int, int], largest: tuple[int, int], ranges: WarpRanges) -> Crop | None:
    """The largest centred crop, up to `largest` and with its aspect ratio, that no warp can drag over the border.

    Args:
        picture_size: `(height, width)` of the picture in pixels.
        largest: `(height, width)` of the crop where the picture is large enough, in pixels.
        ranges: what warps will be drawn from.

    Returns:
        The crop, or None when its short side would be below `SMALLEST_CROP`.
    """
    reach_height, reach_width = _reach(largest, ranges)
    height, width = picture_size
    factor = min(1.0, (height - 2 * BORDER) / reach_height, (width - 2 * BORDER) / reach_width)
    crop_height, crop_width = (int(side * factor) // CELL * CELL for side in largest)
    if min(crop_height, crop_width) < SMALLEST_CROP:
        return None
    return Crop((width - crop_width) // 2, (height - crop_height) // 2, crop_height, crop_width)


def draw_warp(kind: str, crop: Crop, ranges: WarpRanges, *, seed: int, picture: str, repetition: int) -> Warp:
    """A random warp; it depends on the arguments alone, not on what was drawn before or in which process.

    Args:
        kind: one of `KINDS`.
        crop: the crop about whose centre the warp acts.
        ranges: what to draw from.
        seed: the seed of the experiment.
        picture: name of the picture.
        repetition: which warp of this kind of this picture, from 0.
    """
    digest = hashlib.sha256(f"{seed}\n{picture}\n{kind}\n{repetition}".encode()).digest()
    random = np.random.default_rng(int.from_bytes(digest, "big"))
    half_width, half_height = crop.width / 2, crop.height / 2
    match kind:
        case "scaling":
            factor = math.exp(random.uniform(math.log(ranges.scaling[0]), math.log(ranges.scaling[1])))
            return Warp(kind, _about_centre(np.diag([factor, factor, 1.0]), crop), factor)
        case "rotation":
            angle = random.uniform(*ranges.rotation)
            turn = np.eye(3)
            turn[:2, :2] = rotation_matrix(angle)
            return Warp(kind, _about_centre(turn, crop), angle)
        case "perspective":
            strength, direction = random.uniform(0, ranges.perspective), random.uniform(-180, 180)
            cos, sin = math.cos(math.radians(direction)), math.sin(math.radians(direction))
            # The inverse map is x = x' / (1 − u'), u' = p·x' + q·y'; |p|·w/2 + |q|·h/2 = ρ makes |u'| ≤ ρ in the crop.
            scale = strength / (abs(cos) + abs(sin))
            p, q = scale * cos / half_width, scale * sin / half_height
            return Warp(kind, _about_centre(np.array([[1, 0, 0], [0, 1, 0], [p, q, 1.0]]), crop), strength, direction)
        case "translation":
            dx, dy = random.uniform(-1, 1, 2) * ranges.translation * np.array([crop.width, crop.height])
            shift = np.array([[1, 0, dx], [0, 1, dy], [0, 0, 1.0]])
            return Warp(kind, shift, math.hypot(dx, dy), math.degrees(math.atan2(dy, dx)))
    raise ValueError(f"Expected one of {', '.join(KINDS)}, got {kind!r}.")


def warp_crop(picture: np.ndarray, crop: Crop, homography: np.ndarray) -> np.ndarray:
    """The crop of the picture warped by `homography`.

    The warped crop is sampled at twice its resolution (bicubic) and averaged, which keeps a warp that shrinks the
    content from aliasing.

    Args:
        picture: uint8 `(H, W, 3)`.
        crop: the crop of the picture that `homography` refers to.
        homography: `(3, 3)`, from pixel centres of the reference crop to those of the warped crop.

    Returns:
        uint8 `(crop.height, crop.width, 3)`.

    Raises:
        ValueError: when the warp would show what lies beyond the picture's border.
    """
    if not stays_inside(picture.shape[:2], crop, homography):
        raise ValueError(f"The warp shows more than the {picture.shape[1]} × {picture.shape[0]} px of the picture.")
    to_crop = np.array([[1, 0, -crop.left], [0, 1, -crop.top], [0, 0, 1.0]])
    # Pixel i of the crop covers samples 2i and 2i + 1, centred a quarter of a pixel to either side of its own centre.
    to_samples = np.array([[2, 0, 0.5], [0, 2, 0.5], [0, 0, 1.0]])
    sampled = cv2.warpPerspective(
        picture,
        to_samples @ homography @ to_crop,
        (2 * crop.width, 2 * crop.height),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return cv2.resize(sampled, (crop.width, crop.height), interpolation=cv2.INTER_AREA)


def stays_inside(picture_size: tuple[int, int], crop: Crop, homography: np.ndarray) -> bool:
    """Whether the warped crop, up to the outer edges of its pixels, shows nothing but the picture.

    A homography whose denominator has one sign over a rectangle maps it to a convex quadrilateral, so the four
    corners decide.
    """
    right, bottom = crop.width - 0.5, crop.height - 0.5
    edges = np.array([[-0.5, -0.5, 1], [right, -0.5, 1], [right, bottom, 1], [-0.5, bottom, 1]])
    mapped = edges @ np.linalg.inv(homography).T
    if mapped[:, 2].min() <= 0:
        return False
    xy = mapped[:, :2] / mapped[:, 2:] + [[crop.left, crop.top]]
    height, width = picture_size
    return bool((xy >= 0).all() and (xy <= [[width - 1, height - 1]]).all())


def transform(homography: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Points `(N, 2)` mapped by a homography `(3, 3)`; those mapped to or beyond infinity come back as infinite."""
    mapped = np.column_stack([xy, np.ones(len(xy))]) @ homography.T
    denominator = np.where(mapped[:, 2:] > np.finfo(np.float64).eps, mapped[:, 2:], np.nan)
    return np.nan_to_num(mapped[:, :2] / denominator, nan=np.inf)


def _about_centre(matrix: np.ndarray, crop: Crop) -> np.ndarray:
    """`matrix` acting about the crop's centre, in pixel centres: the middle of w pixels is at (w − 1)/2."""
    x, y = (crop.width - 1) / 2, (crop.height - 1) / 2
    to_centre = np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1.0]])
    from_centre = np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])
    return from_centre @ matrix @ to_centre


def _reach(size: tuple[int, int], ranges: WarpRanges) -> tuple[float, float]:
    """`(height, width)` in pixels of the centred rectangle that warped crops of `size` can show in the worst case."""
    height, width = size
    stretch = max(1 / ranges.scaling[0], 1 / (1 - ranges.perspective), 1 + 2 * ranges.translation)
    angles = np.radians(np.linspace(*ranges.rotation, 7201))
    cos, sin = np.abs(np.cos(angles)), np.abs(np.sin(angles))
    turned_width, turned_height = (width * cos + height * sin).max(), (width * sin + height * cos).max()
    return max(height * stretch, turned_height), max(width * stretch, turned_width)
