"""`engine=local`: this process, or with `workers=N` several on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rotationbench.engine.base import Alone, Crew, Setup


@dataclass(frozen=True)
class Local:
    """Workers on this machine: one in this process, or several in processes of their own."""

    @contextmanager
    def crew(self, setup: Setup, workers: int | None, device: str) -> Iterator[Crew]:
        """See `Engine.crew`; `workers` is 1 where it is not given."""
        yield Alone(setup)
