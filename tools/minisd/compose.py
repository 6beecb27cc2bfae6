"""Composing a picture and its caption: an object with transparency on a background, reproducible from a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from tools.minisd.backgrounds import KINDS
from tools.minisd.recipe import Composition
from tools.minisd.sprites import Sprite


@dataclass(frozen=True)
class Placement:
    """Where an object stands.

    Args:
        centre: `(x, y)` of the object's centre in pixels.
        side: side of the object's square in pixels.
        angle: turn in degrees; positive from +x to +y, which is clockwise on the screen.
    """

    centre: tuple[float, float]
    side: float
    angle: float

    def matrix(self, sprite_side: int) -> np.ndarray:
        """The affine map, float64 `(2, 3)`, from the sprite's pixels `(x, y)` to the picture's."""
        scale, turn = self.side / sprite_side, np.deg2rad(self.angle)
        linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        middle = np.full(2, (sprite_side - 1) / 2)
        return np.column_stack([linear, np.asarray(self.centre) - linear @ middle])


@dataclass(frozen=True, eq=False)
class Composed:
    """A composed picture: uint8 `(side, side, 3)`, its caption, the object's index among the sprites, where it is."""

    picture: np.ndarray
    caption: str
    sprite: int
    placement: Placement


def draw_object(background: np.ndarray, sprite: Sprite, placement: Placement, shadow: float = 0.0) -> np.ndarray:
    """`background` float32 `(H, W, 3)` with the object over it, and under it a shadow of that strength, as uint8."""
    size = background.shape[1::-1]
    # Reduced by area before it is turned: a bilinear warp that shrinks would alias.
    reduced_side = min(sprite.rgba.shape[0], max(8, round(placement.side)))
    reduced = cv2.resize(sprite.rgba, (reduced_side, reduced_side), interpolation=cv2.INTER_AREA)
    layer = cv2.warpAffine(reduced, placement.matrix(reduced_side), size, flags=cv2.INTER_LINEAR)
    alpha = layer[..., 3:]
    if shadow > 0:
        shift = np.float32([[1, 0, 0], [0, 1, 0.06 * placement.side]])
        blurred = cv2.GaussianBlur(cv2.warpAffine(alpha[..., 0], shift, size), (0, 0), 0.05 * placement.side)
        background = background * (1 - shadow * blurred[..., None])
    return np.clip((layer[..., :3] + (1 - alpha) * background) * 255 + 0.5, 0, 255).astype(np.uint8)


def random_placement(rng: np.random.Generator, settings: Composition) -> Placement:
    """A place at which the whole object fits into the picture, and a turn by the settings' distribution."""
    upright = rng.random() < settings.upright_share
    limit = settings.upright_degrees if upright else settings.turned_degrees
    side = settings.side * rng.uniform(*settings.scale)
    extent = side * np.sqrt(2) if settings.whole else side
    room = max(0.0, (settings.side - extent) / 2)
    x, y = settings.side / 2 + rng.uniform(-room, room, 2)
    return Placement((float(x), float(y)), float(side), float(rng.uniform(-limit, limit)))


def compose(sprites: Sequence[Sprite], settings: Composition, seed: tuple[int, ...]) -> Composed:
    """The picture that `seed` stands for. The same seed, sprites and settings give the same picture and caption."""
    rng = np.random.default_rng(seed)
    index = int(rng.integers(len(sprites)))
    weights = np.array([settings.backgrounds[kind] for kind in settings.backgrounds])
    kind = [*settings.backgrounds][rng.choice(len(weights), p=weights / weights.sum())]
    background, words = KINDS[kind](rng, settings.side)
    placement = random_placement(rng, settings)
    shadow = rng.uniform(0.2, 0.45) if rng.random() < settings.shadow_share else 0.0
    picture = draw_object(background, sprites[index], placement, shadow)
    return Composed(picture, caption(sprites[index].thing.name, words), index, placement)


def caption(name: str, words: str) -> str:
    """What a picture shows, such as "a red apple on a green background"."""
    return f"{'an' if name[0] in 'aeio' else 'a'} {name} {words}"


class ComposedPictures(Dataset):
    """Pictures `first` to `first + count` of a seed: float `(3, side, side)` in [-1, 1] and the caption of each.

    With `crop`, a random square of that many pixels is cut from each picture.
    """

    def __init__(
        self,
        sprites: Sequence[Sprite],
        settings: Composition,
        seed: int,
        count: int,
        first: int = 0,
        crop: int | None = None,
    ) -> None:
        self.sprites, self.settings, self.seed, self.count, self.first = sprites, settings, seed, count, first
        self.crop = None if crop == settings.side else crop

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[torch.Tensor, str]:
        if not 0 <= index < self.count:
            raise IndexError(index)
        # One process feeds one core; OpenCV's own threads would only get into each other's way.
        cv2.setNumThreads(0)
        composed = compose(self.sprites, self.settings, (self.seed, self.first + index))
        picture = composed.picture
        if self.crop is not None:
            rng = np.random.default_rng((self.seed, self.first + index, 1))
            top, left = rng.integers(self.settings.side - self.crop + 1, size=2)
            picture = picture[top : top + self.crop, left : left + self.crop]
        return to_tensor(picture), composed.caption


def to_tensor(picture: np.ndarray) -> torch.Tensor:
    """uint8 `(H, W, 3)` to float `(3, H, W)` in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1).float() / 127.5 - 1


def to_picture(tensor: torch.Tensor) -> np.ndarray:
    """Float `(3, H, W)` in [-1, 1] to uint8 `(H, W, 3)`."""
    scaled = ((tensor.detach().float().clamp(-1, 1) + 1) * 127.5).round()
    return scaled.to(torch.uint8).permute(1, 2, 0).cpu().numpy()
