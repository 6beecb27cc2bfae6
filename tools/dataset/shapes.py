"""Drawn sprites for parts that no emoji has on its own: hands, needles, blades, dials, boxes and lids."""

from __future__ import annotations

import numpy as np

from tools.dataset.layers import CutOut

SIDE = 256
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE].astype(np.float64)
Colour = tuple[float, float, float]
Point = tuple[float, float]

DARK: Colour = (0.16, 0.14, 0.22)
RED: Colour = (0.86, 0.16, 0.22)
BLADES: tuple[Colour, ...] = ((0.93, 0.33, 0.31), (0.98, 0.75, 0.22), (0.35, 0.69, 0.45), (0.27, 0.51, 0.86))


def hand(centre: Point, length: float, width: float, colour: Colour = DARK) -> CutOut:
    """A clock hand that points up from `centre`, tapering towards its tip."""
    x, y = centre
    tapering = width * (0.55 + 0.45 * np.clip((ROWS - (y - length)) / length, 0, 1))
    return _painted(_capsule((x, y - length), (x, y + 0.22 * length), tapering / 2), colour)


def needle(centre: Point, length: float, colour: Colour = RED) -> CutOut:
    """A pointed needle that points up from `centre`, with a hub."""
    x, y = centre
    along = np.clip((y - ROWS) / length, -0.25, 1)
    half = 9 * (1 - along) / 1.25
    inside = np.minimum(half - np.abs(COLUMNS - x), np.minimum(ROWS - (y - length), y + 0.25 * length - ROWS))
    return hub(centre, 13).over(_painted(inside, colour))


def hub(centre: Point, radius: float, colour: Colour = DARK) -> CutOut:
    """A disc."""
    return _painted(radius - np.hypot(COLUMNS - centre[0], ROWS - centre[1]), colour)


def dial(centre: Point, radius: float) -> CutOut:
    """A white disc with a dark rim and marks on three quarters of it."""
    distance = np.hypot(COLUMNS - centre[0], ROWS - centre[1])
    face = _painted(radius - distance, (0.96, 0.96, 0.97))
    rim = _painted(5 - np.abs(distance - radius + 5), (0.30, 0.34, 0.42))
    marks = CutOut(np.zeros((SIDE, SIDE, 4)))
    for index, angle in enumerate(np.deg2rad(np.linspace(135, 405, 10))):
        direction = np.array([np.cos(angle), np.sin(angle)])
        start, end = (tuple(np.array(centre) + direction * radius * share) for share in (0.70, 0.84))
        marks = _painted(_capsule(start, end, 3.0), RED if index >= 8 else DARK).over(marks)
    return marks.over(rim).over(face)


def rotor(centre: Point, length: float, width: float, blades: int) -> CutOut:
    """Blades of different colours around a hub, so that every turn can be told from every other."""
    x, y = centre
    sprite = CutOut(np.zeros((SIDE, SIDE, 4)))
    for index in range(blades):
        angle = 2 * np.pi * index / blades - np.pi / 2
        along = (COLUMNS - x) * np.cos(angle) + (ROWS - y) * np.sin(angle)
        across = -(COLUMNS - x) * np.sin(angle) + (ROWS - y) * np.cos(angle)
        middle = length * 0.55
        radius = np.hypot((along - middle) / (length * 0.47), (across - width * 0.18) / width)
        blade = _painted((1 - radius) * width, BLADES[index], shade=0.85 + 0.25 * np.clip(across / width + 0.5, 0, 1))
        sprite = blade.over(sprite)
    return hub(centre, 12).over(sprite)


def pole(top: Point, bottom: Point, width: float, colour: Colour) -> CutOut:
    """A round pole."""
    return _painted(
        _capsule(top, bottom, width / 2), colour, shade=1.1 - 0.35 * np.clip((COLUMNS - top[0]) / width + 0.5, 0, 1)
    )


def block(left: float, top: float, right: float, bottom: float, corner: float, colour: Colour, band: Colour) -> CutOut:
    """A rounded block with a vertical band in its middle."""
    x, y = (left + right) / 2, (top + bottom) / 2
    across = np.maximum(np.abs(COLUMNS - x) - (right - left) / 2 + corner, 0)
    down = np.maximum(np.abs(ROWS - y) - (bottom - top) / 2 + corner, 0)
    inside = corner - np.hypot(across, down)
    shade = 1.08 - 0.25 * np.clip((ROWS - top) / (bottom - top), 0, 1)
    body = _painted(inside, colour, shade=shade)
    stripe = _painted(np.minimum(inside, (right - left) * 0.09 - np.abs(COLUMNS - x)), band, shade=shade)
    return stripe.over(body)


def weight_of_disc(centre: Point, radius: float, feather: float, shape: tuple[int, int]) -> np.ndarray:
    """Float64 `shape`: 1 inside a disc, falling to 0 over `feather` pixels around its edge."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.clip((radius - np.hypot(columns - centre[0], rows - centre[1])) / feather + 0.5, 0, 1)


def _capsule(start: Point, end: Point, radius: np.ndarray | float) -> np.ndarray:
    """How deep each pixel lies inside the thick line from `start` to `end`; negative outside."""
    offset = np.array(end) - np.array(start)
    share = np.clip(((COLUMNS - start[0]) * offset[0] + (ROWS - start[1]) * offset[1]) / (offset @ offset), 0, 1)
    return radius - np.hypot(COLUMNS - start[0] - share * offset[0], ROWS - start[1] - share * offset[1])


def _painted(depth: np.ndarray, colour: Colour, shade: np.ndarray | float = 1.0) -> CutOut:
    """A sprite of one colour where `depth` in pixels is positive, smooth at its edge and lighter inside."""
    alpha = np.clip(depth + 0.5, 0, 1)
    light = shade * (0.88 + 0.12 * np.clip(depth / 6, 0, 1))
    colours = np.clip(np.array(colour) * np.asarray(light)[..., None], 0, 1) * alpha[..., None]
    return CutOut(np.concatenate([np.broadcast_to(colours, (SIDE, SIDE, 3)), alpha[..., None]], axis=-1))
