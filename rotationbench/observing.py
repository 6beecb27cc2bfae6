"""How an edit is followed, and ended, from outside while a method makes it."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Observer(Protocol):
    """Told how an edit goes, in the thread that makes it. Whatever its methods raise ends the edit there.

    No method knows of it: phases and evaluations of the UNet are told by `Cost`, which books them anyway, and drag
    steps by the `Progress` that `Editor` hands to every method. Telling changes nothing that is computed.
    """

    def computing(self, phase: str, evaluations: int) -> None:
        """A phase goes on or is returned to, or an evaluation of the UNet is about to begin.

        Args:
            phase: `"lora"`, `"inversion"`, `"drag"`, `"sampling"`, or another that a method names.
            evaluations: those that began in this phase.
        """

    def stepped(self, step: int, limit: int, distance: float, handles: np.ndarray | None) -> None:
        """A drag step begins, or the handles have arrived.

        Args:
            step: the drag steps made before.
            limit: the most that will be made.
            distance: the mean distance left in pixels of the sample's picture.
            handles: float64 `(N, 2)`, where they are, `(x, y)` in pixels of the sample's picture; None where the method
                does not say. Pivot pairs are among them where the method drags them like others.
        """
