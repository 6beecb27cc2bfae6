"""Figures: a sample with its mask, points, arrows, pivot and arc, and sheets of pictures with labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rotationbench.points import ImagePoints
from rotationbench.rotation import turn_between
from rotationbench.sample import DragSample

Colour = tuple[int, int, int]
HANDLE: Colour = (230, 45, 45)
TARGET: Colour = (40, 110, 245)
PIVOT: Colour = (255, 205, 0)
PATH: Colour = (60, 220, 110)
OUTLINE: Colour = (255, 255, 255)
SHADE = 0.45
"""Brightness of what may not change."""

SMALLEST_FIGURE = 512
"""Small pictures are drawn at a whole multiple of their size with at least this long side, so that marks stay sharp."""
GAP = 8
BACKGROUND: Colour = (255, 255, 255)
INK: Colour = (25, 25, 25)


def draw_sample(
    sample: DragSample, *, trajectory: Sequence[ImagePoints] | None = None, axis: ImagePoints | None = None
) -> np.ndarray:
    """The sample's picture with the edit drawn on it.

    What may not change is darkened and the mask is outlined; handles are red, targets blue, arrows lead from one to
    the other; the centre of the turn is a yellow ring, with an arc from each handle to its target around it.

    Args:
        sample: what is drawn. The centre of the turn is `axis`, else its pivot pairs, else the pivot in its metadata.
        trajectory: where the handles were after each step, in image pixels; drawn in green.
        axis: centres of the turn that a method used, in image pixels; one for all handles, or one per handle.

    Returns:
        uint8 `(k·H, k·W, 3)`, where k is the whole number that makes small pictures at least 512 pixels long.
    """
    height, width = sample.size
    factor = max(1, math.ceil(SMALLEST_FIGURE / max(height, width)))
    canvas = cv2.resize(sample.image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    if sample.mask is not None:
        mask = cv2.resize(sample.mask.astype(np.uint8), canvas.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        canvas = np.where(mask[..., None] > 0, canvas, (canvas * SHADE).astype(np.uint8))
        contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(canvas, contours, -1, OUTLINE, 1, cv2.LINE_AA)

    pen = _Pen(canvas, factor)
    moving = ~sample.is_pivot
    sources, targets = sample.sources.xy[moving], sample.targets.xy[moving]
    centres = _centres(sample, axis)
    for index, (source, target) in enumerate(zip(sources, targets, strict=True)):
        if len(centres):
            pen.arc(centres[min(index, len(centres) - 1)], source, target)
    for points in _paths(trajectory, moving):
        pen.path(points)
    for source, target in zip(sources, targets, strict=True):
        pen.arrow(source, target)
    for centre in centres:
        pen.ring(centre)
    for source, target in zip(sources, targets, strict=True):
        pen.dot(target, TARGET)
        pen.dot(source, HANDLE)
    return canvas


def contact_sheet(
    rows: Sequence[Sequence[np.ndarray]],
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
) -> np.ndarray:
    """Pictures in rows and columns on white, with labels above the columns and above each row.

    Args:
        rows: uint8 `(H, W, 3)` pictures, of any sizes; rows may differ in length.
        row_labels: a label per row.
        column_labels: a label per column.

    Returns:
        uint8 `(H', W', 3)`.

    Raises:
        ValueError: when there is no picture, or when the number of labels does not fit.
    """
    if not any(len(row) for row in rows):
        raise ValueError("Expected at least one picture, got none.")
    columns = max(len(row) for row in rows)
    for name, labels, count in (("row", row_labels, len(rows)), ("column", column_labels, columns)):
        if labels is not None and len(labels) != count:
            raise ValueError(f"Expected {count} {name} labels, got {len(labels)}.")
    widths = [max((row[column].shape[1] for row in rows if column < len(row)), default=0) for column in range(columns)]
    heights = [max((picture.shape[0] for picture in row), default=0) for row in rows]
    size = int(np.clip(max(widths) / 16, 12, 28))
    line = size + GAP
    head = line if column_labels else 0
    above = line if row_labels else 0

    sheet = Image.new("RGB", (sum(widths) + GAP * (columns + 1), sum(heights) + head + (GAP + above) * len(rows) + GAP))
    sheet.paste(BACKGROUND, (0, 0, *sheet.size))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size)
    lefts = np.cumsum([GAP, *(width + GAP for width in widths)])
    for label, left, width in zip(column_labels or (), lefts, widths, strict=False):
        draw.text((int(left), GAP // 2), _shortened(label, font, width), INK, font)
    top = head
    for index, row in enumerate(rows):
        if row_labels:
            draw.text((GAP, top + GAP // 2), _shortened(row_labels[index], font, sheet.width - 2 * GAP), INK, font)
        for picture, left in zip(row, lefts, strict=False):
            sheet.paste(Image.fromarray(picture), (int(left), top + above + GAP))
        top += heights[index] + above + GAP
    return np.array(sheet)


def _centres(sample: DragSample, axis: ImagePoints | None) -> np.ndarray:
    if axis is not None:
        return axis.xy
    if sample.is_pivot.any():
        return sample.sources.xy[sample.is_pivot]
    return np.array([sample.meta.pivot]) if sample.meta.pivot is not None else np.empty((0, 2))


def _paths(trajectory: Sequence[ImagePoints] | None, moving: np.ndarray) -> list[np.ndarray]:
    """A path `(steps, 2)` per point of a trajectory that holds every pair or only the moving ones."""
    if not trajectory:
        return []
    steps = np.stack([points.xy for points in trajectory])
    if steps.shape[1] == len(moving):
        steps = steps[:, moving]
    return list(steps.transpose(1, 0, 2))


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """`text`, cut with an ellipsis when it is wider than `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


class _Pen:
    """Marks on a picture that is `factor` times as large as the sample's, in the sample's pixels."""

    SHIFT = 4

    def __init__(self, canvas: np.ndarray, factor: int) -> None:
        self.canvas = canvas
        self.factor = factor
        self.width = max(1, round(max(canvas.shape[:2]) / 300))

    def _at(self, point: np.ndarray) -> tuple[int, int]:
        """A place on the canvas, in the fractions of a pixel that OpenCV draws at."""
        x, y = ((point + 0.5) * self.factor - 0.5) * 2**self.SHIFT
        return round(x), round(y)

    def _line(self, start: np.ndarray, end: np.ndarray, colour: Colour, width: int) -> None:
        cv2.line(self.canvas, self._at(start), self._at(end), colour, width, cv2.LINE_AA, self.SHIFT)

    def _twice(self, segments: Sequence[tuple[np.ndarray, np.ndarray]], colour: Colour) -> None:
        """Segments in `colour` on a wider white line, so that they show on any picture."""
        for ink, width in ((OUTLINE, self.width + 2), (colour, self.width)):
            for start, end in segments:
                self._line(start, end, ink, width)

    def dot(self, point: np.ndarray, colour: Colour) -> None:
        """A disc with a white border."""
        radius = 2.2 * self.width
        for ink, size in ((OUTLINE, radius + 1.3), (colour, radius)):
            cv2.circle(self.canvas, self._at(point), round(size * 2**self.SHIFT), ink, -1, cv2.LINE_AA, self.SHIFT)

    def ring(self, point: np.ndarray) -> None:
        """A ring with a point in it."""
        radius = 4.0 * self.width
        for ink, width in ((INK, self.width + 2), (PIVOT, self.width)):
            place, size = self._at(point), round(radius * 2**self.SHIFT)
            cv2.circle(self.canvas, place, size, ink, width, cv2.LINE_AA, self.SHIFT)
            cv2.circle(self.canvas, place, round(1.2 * width * 2**self.SHIFT), ink, -1, cv2.LINE_AA, self.SHIFT)

    def arrow(self, start: np.ndarray, end: np.ndarray) -> None:
        """A line from `start` to `end` with a head that ends at the target's disc."""
        offset = end - start
        length = float(np.linalg.norm(offset))
        if length == 0:
            return
        direction = offset / length
        side = np.array([-direction[1], direction[0]])
        tip = end - direction * min(length / 2, 3 * self.width / self.factor)
        head = min(length / 3, 6 * self.width / self.factor)
        barbs = [tip - direction * head + sign * side * head * 0.6 for sign in (1, -1)]
        self._twice([(start, tip), (tip, barbs[0]), (tip, barbs[1])], TARGET)

    def arc(self, centre: np.ndarray, start: np.ndarray, end: np.ndarray) -> None:
        """The shorter arc about `centre` from `start` to the direction of `end`."""
        spoke, goal = start - centre, end - centre
        begin = math.atan2(spoke[1], spoke[0])
        angles = begin + math.radians(turn_between(spoke, goal)) * np.linspace(0, 1, 33)
        # From one radius to the other, because a drag is rarely an exact arc.
        radii = np.linspace(np.linalg.norm(spoke), np.linalg.norm(goal), 33)
        points = centre + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        self._twice(list(zip(points[:-1:2], points[1::2], strict=False)), PIVOT)

    def path(self, points: np.ndarray) -> None:
        """A line through all points."""
        self._twice(list(pairwise(points)), PATH)
