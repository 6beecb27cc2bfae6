"""Objects made of several sprites, of which some turn: cut out of one emoji, or drawn on top of it.

Every function takes a reader of sprites by name and returns (sprite, turns) pairs from back to front, all in the same
256² frame.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tools.dataset.geometry import filled
from tools.dataset.layers import CutOut, Layer
from tools.dataset.shapes import DARK, RED, block, dial, hand, hub, needle, pole, rotor, weight_of_disc

Reader = Callable[[str], CutOut]
Pieces = list[tuple[CutOut, bool]]
Points = tuple[tuple[int, int], ...]


def cut(
    name: str, outline: Points, joint: tuple[float, float], radius: float, *, behind: bool = False
) -> Callable[[Reader], Pieces]:
    """An object in two pieces, with a disc around the joint on both, so that no gap opens when one of them turns.

    Args:
        name: the sprite.
        outline: around the piece that turns.
        joint: centre of the turn.
        radius: of the disc that both pieces keep.
        behind: whether the piece lies behind the rest.
    """

    def assemble(read: Reader) -> Pieces:
        sprite = read(name)
        shape = sprite.alpha.shape
        disc = weight_of_disc(joint, radius, 2.0, shape)
        inside = filled(np.array(outline, np.float64), shape).astype(np.float64)
        piece = sprite.times(np.maximum(inside, disc))
        rest = sprite.times(np.maximum(1 - inside, disc))
        return [(piece, True), (rest, False)] if behind else [(rest, False), (piece, True)]

    return assemble


def clock(
    name: str,
    centre: tuple[float, float],
    radius: float,
    moving: float,
    still: float,
    width: float,
    colour: tuple[float, float, float],
) -> Callable[[Reader], Pieces]:
    """A clock whose own hands are painted over and replaced by two that are drawn, of which the long one turns.

    Args:
        name: the sprite.
        centre: of the dial.
        radius: of the disc that covers the old hands; it takes the mean colour of the ring around it.
        moving: length of the hand that turns.
        still: length of the other one.
        width: of the hands.
        colour: of the hands.
    """

    def assemble(read: Reader) -> Pieces:
        sprite = read(name)
        shape = sprite.alpha.shape
        ring = weight_of_disc(centre, radius + 3, 1.0, shape) - weight_of_disc(centre, radius, 1.0, shape)
        mean = (sprite.rgba * ring[..., None]).sum(axis=(0, 1)) / ring.sum()
        cover = CutOut(np.broadcast_to(mean, (*shape, 4)) * weight_of_disc(centre, radius, 8.0, shape)[..., None])
        hour = _turned_hand(centre, still, width * 1.3, colour, 120)
        body = hour.over(cover.over(sprite))
        return [(body, False), (hand(centre, moving, width, colour), True), (hub(centre, width * 0.8, RED), False)]

    return assemble


def gauge(read: Reader) -> Pieces:
    """A dial with a needle."""
    return [(dial((128, 128), 112), False), (needle((128, 128), 92), True)]


def windmill(read: Reader) -> Pieces:
    """A house with four blades at its gable."""
    return [(read("house"), False), (rotor((128, 74), 68, 13, 4), True)]


def pinwheel(read: Reader) -> Pieces:
    """Three blades on a stick."""
    return [(pole((128, 100), (128, 246), 9, (0.62, 0.44, 0.30)), False), (rotor((128, 96), 84, 22, 3), True)]


def box(content: str, lift: int, hinge: str, colour: tuple[float, float, float]) -> Callable[[Reader], Pieces]:
    """A box with something in it that its front partly hides, and a lid on a hinge.

    Args:
        content: the sprite in the box.
        lift: how far the content stands above its frame's middle, in pixels.
        hinge: `"left"` or `"right"`.
        colour: of the box.
    """

    def assemble(read: Reader) -> Pieces:
        inside = read(content)
        small = np.zeros_like(inside.rgba)
        half = inside.rgba.reshape(128, 2, 128, 2, 4).mean(axis=(1, 3))
        top = 140 - lift
        small[top : top + 116, 64:192] = half[:116]
        front = block(40, 138, 216, 244, 10, colour, DARK)
        lid = block(36, 112, 220, 138, 9, tuple(min(1.0, 1.12 * value) for value in colour), DARK)
        joint = hub((44 if hinge == "left" else 212, 132), 6, (0.85, 0.72, 0.35))
        return [(CutOut(small), False), (front, False), (lid, True), (joint, False)]

    return assemble


def _turned_hand(
    centre: tuple[float, float], length: float, width: float, colour: tuple[float, float, float], angle: float
) -> CutOut:
    upright = hand(centre, length, width, colour)
    return CutOut(Layer(upright, centre, centre, 1.0, angle).drawn(upright.alpha.shape))


ASSEMBLIES: dict[str, Callable[[Reader], Pieces]] = {
    "giraffe neck": cut(
        "giraffe",
        ((0, 0), (120, 0), (120, 60), (89, 112), (92, 122), (76, 150), (60, 142), (48, 112), (0, 70)),
        (72, 132),
        21,
    ),
    "duck head": cut(
        "duck", ((0, 0), (140, 0), (140, 70), (104, 104), (98, 112), (44, 112), (20, 90), (0, 80)), (72, 112), 27
    ),
    "t-rex tail": cut(
        "t-rex", ((168, 140), (190, 120), (200, 70), (252, 70), (252, 205), (180, 208), (165, 192)), (172, 165), 25
    ),
    "rooster tail": cut(
        "rooster", ((142, 30), (256, 30), (256, 132), (215, 136), (172, 128), (145, 112)), (172, 120), 26
    ),
    "zebra tail": cut("zebra", ((190, 30), (254, 30), (254, 96), (238, 104), (209, 104), (198, 80)), (222, 100), 13),
    "elephant trunk": cut(
        "elephant",
        ((10, 160), (46, 166), (52, 178), (66, 192), (64, 214), (40, 226), (10, 214)),
        (33, 160),
        16,
        behind=True,
    ),
    "deer head": cut("deer", ((0, 0), (122, 0), (110, 62), (93, 102), (38, 102), (0, 90)), (66, 104), 27),
    "telescope tube": cut(
        "telescope",
        ((0, 0), (90, 0), (256, 70), (256, 142), (222, 138), (165, 119), (130, 106), (116, 101), (60, 86), (0, 72)),
        (122, 98),
        7,
    ),
    "cactus arm": cut(
        "cactus",
        ((168, 100), (168, 152), (200, 152), (246, 140), (250, 36), (182, 36), (184, 98)),
        (172, 126),
        21,
        behind=True,
    ),
    "alarm clock hand": clock("alarm clock", (127, 136), 46, 44, 28, 11, DARK),
    "watch hand": clock("watch", (127, 127), 63, 60, 40, 11, (0.93, 0.93, 0.98)),
    "mantel clock hand": clock("mantelpiece clock", (127, 104), 43, 39, 25, 8, DARK),
    "gauge needle": gauge,
    "windmill": windmill,
    "pinwheel": pinwheel,
    "strawberry box": box("strawberry", 62, "left", (0.45, 0.62, 0.80)),
    "teddy box": box("teddy bear", 60, "right", (0.86, 0.45, 0.38)),
}
