"""Features on the supervision grid, resized where they are looked at and nowhere else."""

from __future__ import annotations

import torch

from rotationbench.diffusion.core import grid_features


class FeatureGrid:
    """What `grid_features` gives, computed cell by cell: a drag looks at a few of tens of thousands.

    Values differ from those of `grid_features` by rounding; equal ones are equal here too.

    Args:
        features: of a UNet block, `(1, C, h, w)`.
        image_size: height and width of the picture in pixels.

    Attributes:
        shape: `(1, C, rows, cols)`, with half the picture's rows and columns.
    """

    def __init__(self, features: torch.Tensor, image_size: tuple[int, int]) -> None:
        self.features, self.image_size = features, image_size
        self.shape = torch.Size((*features.shape[:2], image_size[0] // 2, image_size[1] // 2))

    def detach(self) -> FeatureGrid:
        """The same without gradients."""
        return FeatureGrid(self.features.detach(), self.image_size)

    def whole(self) -> torch.Tensor:
        """All cells, `(1, C, rows, cols)`."""
        return grid_features(self.features, self.image_size)

    def window(self, rows: range, cols: range) -> torch.Tensor:
        """The cells of `R` rows and `K` columns, `(1, C, R, K)`; both are ranges of step 1 on the grid."""
        found = self.features
        for dim, cells in ((2, rows), (3, cols)):
            low, high, share = _between(found.shape[dim], self.shape[dim], cells)
            # What goes to the device need not be waited for.
            low, high = (places.to(found.device, non_blocking=True) for places in (low, high))
            share = share.to(found.device, found.dtype, non_blocking=True).view(-1, *(1,) * (3 - dim))
            # Sums of products, one operation after another: a fused one would round cells of equal value apart.
            found = found.index_select(dim, low) * (1 - share) + found.index_select(dim, high) * share
        return found


def _between(extent: int, count: int, cells: range) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """For `R` of `count` cells along an axis, the two of `extent` features that each lies between.

    By the rule of `torch.nn.functional.interpolate` without aligned corners.

    Returns:
        Indices `(R,)` of the lower and the upper feature, and float64 `(R,)`, the share of the upper one.
    """
    places = [max((cell + 0.5) * extent / count - 0.5, 0.0) for cell in cells]
    low = [int(place) for place in places]
    high = [min(place + 1, extent - 1) for place in low]
    share = [place - below for place, below in zip(places, low, strict=True)]
    return torch.tensor(low), torch.tensor(high), torch.tensor(share, dtype=torch.float64)
