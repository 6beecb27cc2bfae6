"""The two kinds of points: `ImagePoints` as people write them, `GridPoints` as the drag loop moves them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True, eq=False)
class ImagePoints:
    """Points in image pixels.

    Args:
        xy: array of shape `(N, 2)`, float64, a row per point: x to the right, y downwards, in pixels.

    Raises:
        ValueError: when `xy` has another shape or holds values that are not finite.
    """

    xy: np.ndarray

    def __post_init__(self) -> None:
        xy = np.asarray(self.xy, dtype=np.float64)
        if xy.size == 0:
            xy = xy.reshape(0, 2)
        if xy.ndim != 2 or xy.shape[1] != 2:
            raise ValueError(f"Expected points of shape (N, 2), got {xy.shape}.")
        if not np.isfinite(xy).all():
            raise ValueError("Expected finite coordinates, got NaN or infinity.")
        xy.setflags(write=False)
        object.__setattr__(self, "xy", xy)

    @classmethod
    def of(cls, points: Iterable[Iterable[float]]) -> ImagePoints:
        """Points from any iterable of `(x, y)` pairs."""
        return cls(np.array([tuple(point) for point in points], dtype=np.float64))

    def __len__(self) -> int:
        return len(self.xy)

    def __getitem__(self, index: slice | np.ndarray) -> ImagePoints:
        return ImagePoints(self.xy[index])

    def rescaled(self, old_size: tuple[int, int], new_size: tuple[int, int]) -> ImagePoints:
        """The same places after the picture went from `old_size` to `new_size`, both `(height, width)` in pixels.

        >>> ImagePoints.of([(10, 30)]).rescaled((100, 200), (200, 100)).xy
        array([[ 5., 60.]])
        """
        (old_h, old_w), (new_h, new_w) = old_size, new_size
        return ImagePoints(self.xy * np.array([new_w / old_w, new_h / old_h]))

    def to_grid(self, image_size: tuple[int, int]) -> GridPoints:
        """Cells of the supervision grid, which is half of `image_size = (height, width)`, halves rounded to even.

        A point in the last pixel column or row may round to one cell beyond the grid; it gets the last cell.

        >>> ImagePoints.of([(10, 31), (199, 99)]).to_grid((100, 200)).rc
        tensor([[16.,  5.],
                [49., 99.]])
        """
        height, width = image_size
        columns = np.round(self.xy[:, 0] / width * (width // 2)).clip(0, width // 2 - 1)
        rows = np.round(self.xy[:, 1] / height * (height // 2)).clip(0, height // 2 - 1)
        return GridPoints(torch.from_numpy(np.stack([rows, columns], axis=1)).to(torch.float32))

    def to_unrounded_grid(self, image_size: tuple[int, int]) -> GridPoints:
        """The same places on the supervision grid of `image_size = (height, width)`, float64 and between its cells.

        `GridPoints.to_image` gives back the very points, which `to_grid` rounds and keeps inside the picture.
        """
        height, width = image_size
        rows, columns = self.xy[:, 1] / height * (height // 2), self.xy[:, 0] / width * (width // 2)
        return GridPoints(torch.from_numpy(np.stack([rows, columns], axis=1)))


@dataclass(frozen=True, eq=False)
class GridPoints:
    """Points on the supervision grid.

    Args:
        rc: tensor of shape `(N, 2)`, a row per point: (row, column) in cells of the grid. Whole cells are
            float32, which holds them exactly; what lies between cells has the number type of the latents.

    Raises:
        ValueError: when `rc` has another shape.
    """

    rc: torch.Tensor

    def __post_init__(self) -> None:
        if self.rc.ndim != 2 or self.rc.shape[1] != 2:
            raise ValueError(f"Expected points of shape (N, 2), got {tuple(self.rc.shape)}.")

    def __len__(self) -> int:
        return self.rc.shape[0]

    def to_image(self, image_size: tuple[int, int]) -> ImagePoints:
        """Image pixels of the cells, for a picture of `image_size = (height, width)` pixels."""
        height, width = image_size
        rc = self.rc.detach().cpu().to(torch.float64).numpy()
        return ImagePoints(np.stack([rc[:, 1] * width / (width // 2), rc[:, 0] * height / (height // 2)], axis=1))
