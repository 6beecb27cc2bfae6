"""What an edit costs: UNet evaluations counted and phases timed, so that methods compare without a clock."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import torch

from rotationbench.observing import Observer

OTHER = "other"
STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")


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
    """The cost of an edit by phase. A phase opened inside another takes its time and counts from it, not twice.

    Args:
        phases: what was booked, by the phases' names.
        observer: told of phases and evaluations as they come; None tells nobody.
    """

    phases: dict[str, PhaseCost] = field(default_factory=dict)
    observer: Observer | None = None
    _open: list[str] = field(default_factory=list)
    _since: float = 0.0

    @contextmanager
    def phase(self, name: str, device: torch.device | None = None) -> Iterator[PhaseCost]:
        """Book everything inside the block to phase `name`; `device` is waited for, so that the clock is honest."""
        self._book_time(device)
        self._open.append(name)
        try:
            self._tell()
            yield self.of(name)
        finally:
            self._book_time(device)
            self._open.pop()
        self._tell()

    @contextmanager
    def phase_of_its_own(self, name: str, device: torch.device | None = None) -> Iterator[None]:
        """Book everything inside the block to phase `name` where no other phase but `other` is open."""
        if self._open and self._open[-1] != OTHER:
            yield
            return
        with self.phase(name, device):
            yield

    def place(self) -> str:
        """Where the computation is: the open phase and the number of its UNet evaluations so far."""
        name = self._open[-1] if self._open else OTHER
        return f"phase {name}, after {self.of(name).unet_calls} UNet evaluations"

    def of(self, name: str) -> PhaseCost:
        """The cost of phase `name` so far; zero when it never ran."""
        return self.phases.setdefault(name, PhaseCost())

    def count(self, images: int, *, grad: bool) -> None:
        """Book one UNet evaluation of `images` latents."""
        self.of(self._open[-1] if self._open else OTHER).add(PhaseCost(0.0, 1, images, int(grad)))
        self._tell()

    def charge(self, name: str, cost: PhaseCost) -> None:
        """Book `cost` to phase `name`: what a result taken from a cache would have cost."""
        self.of(name).add(cost)

    def reset(self) -> None:
        """Forget everything booked."""
        self.phases.clear()

    def snapshot(self, name: str) -> PhaseCost:
        """A copy of the cost of phase `name` so far."""
        return replace(self.of(name))

    def _tell(self) -> None:
        if self.observer is not None and self._open:
            name = self._open[-1]
            self.observer.computing(name, self.of(name).unet_calls)

    def _book_time(self, device: torch.device | None) -> None:
        if device is not None and device.type == "cuda":
            torch.cuda.synchronize(device)
        now = time.perf_counter()
        if self._open:
            self.of(self._open[-1]).seconds += now - self._since
        self._since = now


def reset_peak_memory(device: torch.device) -> None:
    """Start `peak_memory_mb` afresh, where the system can do that."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        # 5 resets the peak of the resident set (proc(5), since Linux 4.0).
        CLEAR_REFS.write_text("5", encoding="ascii")


def peak_memory_mb(device: torch.device) -> float | None:
    """Peak memory in MiB since `reset_peak_memory`: of the device on CUDA, of the process elsewhere.

    Returns:
        None where the system cannot tell the peak since then from the peak since the process began.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if not os.access(CLEAR_REFS, os.W_OK):
        return None
    try:
        fields_of_status = dict(line.split(":", 1) for line in STATUS.read_text(encoding="utf-8").splitlines())
        return int(fields_of_status["VmHWM"].split()[0]) / 1024
    except (OSError, KeyError, ValueError):
        return None
