"""What both trainings share: the learning-rate schedule, averaged weights and states to resume from."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from rotationbench.errors import CheckpointError
from rotationbench.files import whole_file
from tools.minisd.recipe import Recipe

# Settings that decide the shapes of the weights; all others may change between two parts of a training.
ARCHITECTURE = {
    "channels",
    "layers_per_block",
    "latent_channels",
    "mid_attention",
    "norm_groups",
    "heads",
    "text_width",
    "text_layers",
    "text_heads",
    "vocabulary",
}


def learning_rate(step: int, peak: float, warmup: int, decay: int, steps: int) -> float:
    """Linear warm-up over `warmup` steps, then `peak`, then linear decay to 2 % of it over the last `decay` steps."""
    rising = min(1.0, (step + 1) / max(1, warmup))
    falling = min(1.0, (steps - step) / max(1, decay))
    return peak * rising * max(0.02, falling)


class Average:
    """An exponential moving average of a module's weights; a young one forgets faster, so that it is fair early on."""

    def __init__(self, module: torch.nn.Module, decay: float) -> None:
        self.decay = decay
        self.module = copy.deepcopy(module).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, module: torch.nn.Module, step: int) -> None:
        """Move the average towards `module` after the training step of that number."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        averages, values = list(self.module.parameters()), [value.detach() for value in module.parameters()]
        torch._foreach_lerp_(averages, values, weight)


def autocast(device: torch.device) -> AbstractContextManager:
    """bfloat16 on CUDA, which needs no loss scaling; float32 elsewhere."""
    return torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda")


def resolve_device(name: str) -> torch.device:
    """`auto` is CUDA when there is one, else the CPU."""
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)


def generator_of(seed: int, step: int) -> torch.Generator:
    """A CPU generator that depends on the run's seed and the step alone, so that a resumed run draws the same."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**63)


def batches(dataset: Dataset, batch: int, workers: int) -> Iterator[Any]:
    """`dataset` in its own order, in whole batches."""
    return iter(DataLoader(dataset, batch, num_workers=workers, drop_last=True, persistent_workers=False))


def save_state(path: Path, recipe: Recipe, step: int, **parts: Any) -> None:
    """Write the state after `step` steps: the settings and the state dict of each part."""
    content = {"recipe": recipe.as_dict(), "step": step, **{name: part.state_dict() for name, part in parts.items()}}
    with whole_file(path) as temporary:
        torch.save(content, temporary)


def load_state(path: Path, part: str, recipe: Recipe, **parts: Any) -> int:
    """Load what `save_state` wrote into the parts; 0 when there is no file, else the number of steps done.

    Raises:
        CheckpointError: the state belongs to a model of another shape, whose settings are under `part`.
    """
    if not path.is_file():
        return 0
    content = torch.load(path, map_location="cpu", weights_only=True)
    theirs, ours = content["recipe"][part], recipe.as_dict()[part]
    assert isinstance(ours, dict)
    differing = sorted(key for key in ours.keys() & ARCHITECTURE if theirs.get(key) != ours[key])
    if differing:
        raise CheckpointError(f"{path}: was trained with another {part} recipe (differs in {', '.join(differing)}).")
    for name, value in parts.items():
        value.load_state_dict(content[name])
    return int(content["step"])


class Progress:
    """A progress bar over the steps `first` to `last` that shows a smoothed loss, and ends when time runs out."""

    def __init__(self, title: str, first: int, last: int, minutes: float | None = None) -> None:
        self.bar = tqdm(total=last, initial=first, desc=title, mininterval=5, dynamic_ncols=True)
        self.deadline = None if minutes is None else time.monotonic() + 60 * minutes
        self.loss: float | None = None

    def advance(self, loss: float) -> None:
        """Count one step."""
        self.loss = loss if self.loss is None else 0.98 * self.loss + 0.02 * loss
        self.bar.set_postfix(loss=f"{self.loss:.4f}", refresh=False)
        self.bar.update()

    @property
    def out_of_time(self) -> bool:
        """Whether the minutes that the run was given are over."""
        return self.deadline is not None and time.monotonic() > self.deadline
