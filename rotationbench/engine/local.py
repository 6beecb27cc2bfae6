"""`engine=local`: this process, or with `workers=N` several on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from rotationbench.engine.base import Alone, Crew, Setup
from rotationbench.engine.processes import processes
from rotationbench.engine.spread import Spread
from rotationbench.errors import ConfigError


@dataclass(frozen=True)
class Local:
    """Workers on this machine: one in this process, or several in processes of their own."""

    elsewhere: ClassVar[bool] = False

    @contextmanager
    def crew(self, setup: Setup, workers: int | None, device: str) -> Iterator[Crew]:
        """See `Engine.crew`; without `workers` it is one.

        Raises:
            ConfigError: when there are fewer GPUs than workers, or `device` names one of them.
        """
        if workers is None or workers == 1:
            yield Alone(setup)
            return
        hosts = processes(workers, gpus(workers, device))
        try:
            yield Spread(hosts, setup)
        except BaseException:
            hosts.stop()
            raise


def gpus(workers: int, device: str) -> tuple[str, ...]:
    """What `CUDA_VISIBLE_DEVICES` is for each of the workers; empty where they compute on the CPU.

    Raises:
        ConfigError: when there are fewer GPUs than workers, or `device` names one of them.
    """
    import torch  # noqa: PLC0415 - takes seconds, and a worker alone has it already

    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return ()
    if device not in ("auto", "cuda"):
        raise ConfigError(f"device: expected auto, cpu or cuda with workers={workers}, got {device!r}.")
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    found = visible[: torch.cuda.device_count()] or [str(index) for index in range(torch.cuda.device_count())]
    if len(found) < workers:
        raise ConfigError(f"workers: expected at most {len(found)}, a GPU of this machine for each, got {workers}.")
    return tuple(found[:workers])
