"""What an edit costs: UNet evaluations counted and phases timed, so that methods compare without a clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace

import psutil
import torch

OTHER = "other"


@dataclass
class PhaseCost:
    """The cost of one phase.

    Args:
        seconds: wall-clock time.
        unet_calls: UNet evaluations, one after another; an early exit counts as one.
        unet_images: the same weighted by the batch: latents that went through the UNet.
        unet_grad_calls: those of `unet_calls` that recorded gradients.
    """

    seconds: float = 0.0
    unet_calls: int = 0
    unet_images: int = 0
    unet_grad_calls: int = 0

    def add(self, other: PhaseCost) -> None:
        """Add `other` to this cost."""
        for item in fields(self):
            setattr(self, item.name, getattr(self, item.name) + getattr(other, item.name))

    def minus(self, other: PhaseCost) -> PhaseCost:
        """What came on top of `other`."""
        return PhaseCost(*(getattr(self, item.name) - getattr(other, item.name) for item in fields(self)))


@dataclass
class Cost:
    """The cost of an edit by phase. A phase opened inside another takes its time and counts from it, not twice."""

    phases: dict[str, PhaseCost] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)
    _since: float = 0.0

    @contextmanager
    def phase(self, name: str, device: torch.device | None = None) -> Iterator[PhaseCost]:
        """Book everything inside the block to phase `name`; `device` is waited for, so that the clock is honest."""
        self._book_time(device)
        self._open.append(name)
        try:
            yield self.of(name)
        finally:
            self._book_time(device)
            self._open.pop()

    def of(self, name: str) -> PhaseCost:
        """The cost of phase `name` so far; zero when it never ran."""
        return self.phases.setdefault(name, PhaseCost())

    def count(self, images: int, *, grad: bool) -> None:
        """Book one UNet evaluation of `images` latents."""
        self.of(self._open[-1] if self._open else OTHER).add(PhaseCost(0.0, 1, images, int(grad)))

    def charge(self, name: str, cost: PhaseCost) -> None:
        """Book `cost` to phase `name`: what a result taken from a cache would have cost."""
        self.of(name).add(cost)

    def reset(self) -> None:
        """Forget everything booked."""
        self.phases.clear()

    def snapshot(self, name: str) -> PhaseCost:
        """A copy of the cost of phase `name` so far."""
        return replace(self.of(name))

    def _book_time(self, device: torch.device | None) -> None:
        if device is not None and device.type == "cuda":
            torch.cuda.synchronize(device)
        now = time.perf_counter()
        if self._open:
            self.of(self._open[-1]).seconds += now - self._since
        self._since = now


def reset_peak_memory(device: torch.device) -> None:
    """Start `peak_memory_mb` afresh, where the device can do that."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory in MiB: of the device on CUDA since `reset_peak_memory`; of the whole process so far elsewhere."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    usage = psutil.Process().memory_info()
    if hasattr(usage, "peak_wset"):
        return usage.peak_wset / 2**20
    import resource  # noqa: PLC0415 - Unix only

    # Linux counts in KiB, macOS in bytes.
    unit = 1 if psutil.MACOS else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
