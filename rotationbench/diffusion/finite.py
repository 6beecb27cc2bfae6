"""Finding where numbers stop being finite, without waiting for the device at every step."""

from __future__ import annotations

import torch

from rotationbench.diffusion.cost import Cost
from rotationbench.errors import NonFiniteError

MOST_PENDING = 256


class FiniteWatch:
    """Notes on the device whether tensors are finite, and reads the notes where the host waits for the device anyway.

    Args:
        cost: tells the phase and the evaluation at which a tensor was seen.
        advice: what to do about numbers that are not finite, for the message.
    """

    def __init__(self, cost: Cost, advice: str = "") -> None:
        self.cost, self.advice = cost, advice
        self._pending: list[tuple[str, torch.Tensor]] = []

    def watch(self, tensor: torch.Tensor, what: str) -> None:
        """Note whether `tensor` is finite; `what` names it."""
        # One pass without intermediate tensors; NaN is both the smallest and the largest number.
        finite = torch.stack(tensor.detach().aminmax()).isfinite().all()
        self._pending.append((f"{what} ({self.cost.place()})", finite))
        if len(self._pending) >= MOST_PENDING:
            self.check()

    def check(self) -> None:
        """Read all notes.

        Raises:
            NonFiniteError: when a tensor was not finite; it names the first one, and when it was seen.
        """
        pending, self._pending = self._pending, []
        if not pending:
            return
        answers = torch.stack([finite for _, finite in pending]).tolist()
        for (place, _), is_finite in zip(pending, answers, strict=True):
            if not is_finite:
                raise NonFiniteError(f"{place}: expected finite numbers, got NaN or infinity{self.advice}.")

    def forget(self) -> None:
        """Drop all notes."""
        self._pending = []
