"""What a drag method is: one call from a core, a sample and a seed to an edited picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol

import torch

from rotationbench.errors import NonFiniteError
from rotationbench.points import GridPoints
from rotationbench.sample import DragSample

if TYPE_CHECKING:
    from rotationbench.diffusion.core import StableDiffusion


class Progress(Protocol):
    """What a method tells of each drag step."""

    def __call__(self, step: int, limit: int, distance: float, handles: torch.Tensor | None = None, /) -> None:
        """Take note of a drag step.

        Args:
            step: the steps done.
            limit: the step limit.
            distance: the mean distance left in cells of the supervision grid.
            handles: where they are, `(N, 2)` in cells of the supervision grid, on any device; it is not looked at
                unless somebody watches.
        """


def no_progress(step: int, limit: int, distance: float, handles: torch.Tensor | None = None, /) -> None:
    """The `Progress` of a caller that wants none."""


@dataclass(frozen=True, eq=False)
class DragResult:
    """What a drag method made of a sample.

    Args:
        edited: `(1, 3, H, W)` in [0, 1] on the CPU, at the size of the sample that the method was given.
        trajectory: the handles in order of time, in cells of the supervision grid; the last entry is where they ended.
        targets: where the handles of `trajectory` were meant to go, in cells of the supervision grid.
        steps: drag steps made.
        converged: whether the method's own stopping rule was met before its step limit; None when it has no such rule.
        axis: the rotation axis of each handle in cells of the supervision grid, for methods that have one.
        trace: arrays worth keeping for a look inside, written to `trace.npz` on request: latents such as
            `inverted` and `optimized`, each `(1, C, h, w)`.

    Raises:
        NonFiniteError: when the picture or a handle is not finite.
    """

    edited: torch.Tensor
    trajectory: list[GridPoints]
    targets: GridPoints
    steps: int
    converged: bool | None
    axis: GridPoints | None = None
    trace: dict[str, torch.Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what, values in (("picture", self.edited), *(("handle", points.rc) for points in self.trajectory)):
            if not values.isfinite().all():
                raise NonFiniteError(f"the edit: expected a finite {what}, got NaN or infinity.")


class DragMethod(Protocol):
    """A drag method; each is a dataclass in one file of `methods/`, its settings the fields.

    `version` is part of what decides whether an edit on disk is still valid: raise it with every change of the code
    that changes results. Two class variables may be left out:

    - `needs_model = False` tells that `edit` has no use for the core. Such a method is handed None in its place, and
      the sample at its own size; no model is loaded for it.
    - `reads_metadata = True` tells that `edit` reads more of the sample than `DragSample.digest` covers, such as the
      object mask, so that an edit is made again when that changes.
    """

    version: ClassVar[int]

    def edit(
        self, core: StableDiffusion, sample: DragSample, *, seed: int = 0, progress: Progress = no_progress
    ) -> DragResult:
        """Drag the content of `sample` from its sources to its targets.

        Args:
            core: the diffusion model; it counts its own evaluations.
            sample: already at a size the core can work on.
            seed: decides everything random; the same seed gives the same result on the same machine.
            progress: told of every drag step.

        Returns:
            The edited picture at the sample's size, and how it came about.
        """
        ...


def needs_model(method: DragMethod) -> bool:
    """Whether a method edits with the diffusion model; see `DragMethod`."""
    return bool(getattr(method, "needs_model", True))


def reads_metadata(method: DragMethod) -> bool:
    """Whether a method's edits depend on a sample's metadata; see `DragMethod`."""
    return bool(getattr(method, "reads_metadata", False))
