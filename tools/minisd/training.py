"""What both trainings share: optimiser, learning-rate schedule, averaged weights, and states to resume from."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from diffusers.training_utils import EMAModel
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm
from transformers import get_wsd_schedule

from rotationbench.errors import CheckpointError
from rotationbench.files import whole_file
from tools.minisd.recipe import AutoencoderRecipe, DenoiserRecipe, Recipe

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


class Stateful(Protocol):
    """What a state on disk can hold."""

    def state_dict(self) -> dict[str, Any]:
        """The state as plain containers and tensors."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Take over such a state."""
        ...


def save_state(path: Path, recipe: Recipe, step: int, **parts: Stateful) -> None:
    """Write the state after `step` steps: the settings and the state dict of each part."""
    content = {"recipe": recipe.as_dict(), "step": step, **{name: part.state_dict() for name, part in parts.items()}}
    with whole_file(path) as temporary:
        torch.save(content, temporary)


def load_state(path: Path, part: str, recipe: Recipe, **parts: Stateful) -> int:
    """Load what `save_state` wrote into the parts, and return the number of steps done.

    Raises:
        CheckpointError: there is no such state, or it belongs to a model of another shape, whose settings are under
            `part`.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; run the step `{part}` first.")
    content = torch.load(path, map_location="cpu", weights_only=True)
    theirs, ours = content["recipe"][part], recipe.as_dict()[part]
    assert isinstance(ours, dict)
    differing = sorted(key for key in ours.keys() & ARCHITECTURE if theirs.get(key) != ours[key])
    if differing:
        raise CheckpointError(f"{path}: was trained with another {part} recipe (differs in {', '.join(differing)}).")
    for name, value in parts.items():
        value.load_state_dict(content[name])
    return int(content["step"])


def load_average(path: Path, part: str, recipe: Recipe, model: nn.Module) -> int:
    """Load the averaged weights of a training into `model`, ready for use; returns the number of steps done.

    Raises:
        CheckpointError: as `load_state`.
    """
    average = EMAModel(model.parameters())
    step = load_state(path, part, recipe, average=average)
    average.copy_to(model.parameters())
    model.eval().requires_grad_(False)
    return step


class Training:
    """A model that is trained by AdamW, with averaged weights and a state on disk from which it goes on.

    Args:
        recipe: the settings of the run.
        part: `"autoencoder"` or `"denoiser"`, the settings and the state's file that belong to the model.
        model: what is trained; it takes over the state where there is one.
        run: folder of the states.
        minutes: time after which the training ends early; None means none.
    """

    def __init__(self, recipe: Recipe, part: str, model: nn.Module, run: Path, minutes: float | None = None) -> None:
        self.recipe, self.part, self.model = recipe, part, model
        self.settings: AutoencoderRecipe | DenoiserRecipe = getattr(recipe, part)
        self.state = run / f"{part}.pt"
        rate = self.settings.learning_rate
        # Fused kernels exist for the CPU and for CUDA; a UNet has hundreds of small tensors.
        self.optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=1e-3, fused=True)
        self.average = EMAModel(model.parameters(), decay=self.settings.ema, foreach=True)
        self.step = load_state(self.state, part, recipe, **self._parts()) if self.state.is_file() else 0
        # Rates and decays may differ from those of the state.
        self.average.decay = self.settings.ema
        self.average.to(next(model.parameters()).device)
        for group in self.optimizer.param_groups:
            group["initial_lr"] = rate
        self.schedule = get_wsd_schedule(
            self.optimizer,
            self.settings.warmup,
            self.settings.decay,
            num_training_steps=self.settings.steps,
            decay_type="linear",
            min_lr_ratio=0.02,
            last_epoch=self.step - 1,
        )
        self.progress = Progress(part, self.step, self.settings.steps, minutes)

    def _parts(self) -> dict[str, Stateful]:
        return {"model": self.model, "average": self.average, "optimizer": self.optimizer}

    @property
    def ended(self) -> bool:
        """Whether all steps are done or the time is over."""
        return self.step >= self.settings.steps or self.progress.out_of_time

    def update(self, loss: torch.Tensor) -> None:
        """One step of the optimiser; saves the state when that is due."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.average.step(self.model.parameters())
        self.step += 1
        self.progress.advance(loss.item())
        if self.step % self.recipe.save_every == 0 or self.ended:
            self.save()

    def save(self) -> None:
        """Write the state."""
        save_state(self.state, self.recipe, self.step, **self._parts())

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Give the model its averaged weights meanwhile."""
        self.average.store(self.model.parameters())
        self.average.copy_to(self.model.parameters())
        self.model.eval()
        try:
            yield
        finally:
            self.average.restore(self.model.parameters())
            self.model.train()


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
