"""Mean squared error of pictures in [−1, 1].

Source: github:Sylvie-X/DragLoRA, drag_bench_evaluation.
"""

from __future__ import annotations

import numpy as np

from evaluation.metrics.base import Edited, Metric, MetricFamily, Values
from evaluation.metrics.checks import require_same_pictures


def mean_squared_error(reference: np.ndarray, picture: np.ndarray) -> float:
    """Mean over pixels and channels of the squared difference, with colours in [−1, 1].

    Args:
        reference: uint8 `(H, W, 3)`.
        picture: uint8 `(H, W, 3)`.

    Returns:
        Between 0, at best, and 4.

    Raises:
        ValueError: when shapes or dtypes do not fit together.

    >>> mean_squared_error(np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8))
    4.0
    """
    require_same_pictures(reference, picture)
    return float(np.mean(((reference.astype(np.float64) - picture) / 127.5) ** 2))


class MeanSquaredError(MetricFamily):
    """MSE against the source picture."""

    metrics = (
        Metric(
            "mse_draglora",
            "MSE (DragLoRA)",
            "lower",
            "",
            "published",
            70,
            digits=4,
            published="DragLoRA's script: of pictures in [−1, 1], 4 times that of [0, 1]; ours is PSNR.",
        ),
    )

    def measure(self, edit: Edited) -> Values:
        """See `MetricFamily.measure`."""
        return {"mse_draglora": mean_squared_error(edit.sample.image, edit.picture)}
