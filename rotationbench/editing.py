"""A method and what it edits with: what an edit depends on, how it is made, and what it cost."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm import tqdm

from rotationbench.config import BenchmarkConfig
from rotationbench.diffusion.cost import OTHER, Cost, peak_memory_mb, reset_peak_memory
from rotationbench.diffusion.limits import area_fault
from rotationbench.method import DragMethod, DragResult, needs_model, reads_metadata
from rotationbench.observing import Observer
from rotationbench.points import GridPoints
from rotationbench.results.record import cost_record, result_record
from rotationbench.sample import DragSample, resize_image, to_uint8

if TYPE_CHECKING:
    from rotationbench.diffusion.core import StableDiffusion

INVERTED = 0.75
"""The share of the inference steps by which most methods invert a picture, and sample it again."""


class Editor:
    """Makes edits with one method.

    Args:
        method: the drag method.
        settings: those of the run.

    Attributes:
        core: the diffusion model; None for a method that needs none, and until it has been loaded.
    """

    def __init__(self, method: DragMethod, settings: BenchmarkConfig) -> None:
        self.method, self.settings = method, settings
        self.core: StableDiffusion | None = None

    @property
    def needs_core(self) -> bool:
        """Whether the method edits with the model: a core that only measures has no part in what edits depend on."""
        return needs_model(self.method)

    @property
    def name(self) -> str:
        """The method's name in its settings, or else that of its class."""
        return str(self.settings.method.get("name") or type(self.method).__name__.lower())

    def size_fault(self, sample: DragSample) -> str | None:
        """What keeps a sample from being edited at its working size, as a sentence; None when nothing does."""
        model = self.settings.model
        return area_fault(sample.size, model.resolution, model.max_pixels) if self.needs_core else None

    def expected_cost(self, sample: DragSample) -> float:
        """What the edit of a sample is expected to cost, to be compared with that of others by the same method.

        It is the working area in pixels times the UNet's evaluations: those of inversion and sampling, and a drag step
        for each cell of the supervision grid that the farthest handle has to go, within the step limit.
        """
        height, width = sample.size
        if not self.needs_core:
            return float(height * width)
        model = self.settings.model
        scale = 1.0 if model.resolution is None else model.resolution / min(height, width)
        way = np.linalg.norm(sample.targets.xy - sample.sources.xy, axis=1).max(initial=0.0) * scale / 2
        steps = min(way, getattr(self.method, "max_steps", None) or math.inf)
        return float(height * width * scale**2 * (2 * INVERTED * model.num_inference_steps + steps))

    def identity(self, sample: dict[str, Any]) -> dict[str, Any]:
        """What decides the edit of a sample, given as records hold it; two edits that agree in it are the same."""
        identity = {
            "method": asdict(self.method),  # type: ignore[call-overload]
            "method_class": f"{type(self.method).__module__}.{type(self.method).__qualname__}",
            "method_version": self.method.version,
            "sample": sample.get("full_digest") if reads_metadata(self.method) else sample["digest"],
            "seed": self.settings.seed,
        }
        if self.core is not None:
            identity |= {
                "model": self.core.model_hash,
                "dtype": str(self.core.dtype),
                "resolution": self.core.resolution,
                "num_inference_steps": self.core.num_inference_steps,
                "attention": self.settings.model.attention,
            }
        return identity

    def record(self) -> dict[str, Any]:
        """What a record says about method and model."""
        core = self.core
        return {
            "method": self.name,
            "method_version": self.method.version,
            "weights_hash": None if core is None else core.weights_hash,
            "model_hash": None if core is None else core.model_hash,
            "device": "cpu" if core is None else str(core.device),
            "dtype": None if core is None else str(core.dtype).removeprefix("torch."),
        }

    def edit(
        self, sample: DragSample, observer: Observer | None = None
    ) -> tuple[np.ndarray, dict[str, Any], dict[str, np.ndarray]]:
        """Edit a sample at the working size.

        Args:
            sample: at its own size.
            observer: told how the edit goes; what it raises ends the edit and leaves the model ready for the next.

        Returns:
            The edited picture, uint8 `(H, W, 3)` at the sample's size; what its record says about result and cost; and
            the arrays worth keeping.
        """
        core = self.core
        device = torch.device("cpu") if core is None else core.device
        cost = Cost() if core is None else core.cost
        if core is not None:
            core.start_edit()
        reset_peak_memory(device)
        working = sample.resized(sample.size if core is None else core.working_size(sample.size))
        cost.observer = observer
        try:
            result = self._drag(working, sample.size, cost)
        finally:
            cost.observer = None
        edited = resize_image(to_uint8(result.edited), sample.size)
        record = result_record(result, sample, working.size, edited) | cost_record(cost)
        arrays = {key: value.numpy() for key, value in ({"edited": result.edited} | result.trace).items()}
        return edited, record | {"peak_memory_mb": peak_memory_mb(device)}, arrays

    def _drag(self, working: DragSample, size: tuple[int, int], cost: Cost) -> DragResult:
        pixels_per_cell = 2 * size[0] / working.size[0]
        with tqdm(desc=working.name, unit="step", leave=False, disable=None) as bar:

            def progress(step: int, limit: int, distance: float, handles: torch.Tensor | None = None, /) -> None:
                bar.total = limit
                bar.update(step + 1 - bar.n)
                bar.set_postfix_str(f"{distance * pixels_per_cell:.1f} px left")
                if cost.observer is not None:
                    places = None if handles is None else GridPoints(handles).to_image(working.size)
                    xy = None if places is None else places.rescaled(working.size, size).xy
                    cost.observer.stepped(step, limit, distance * pixels_per_cell, xy)
                if self.core is not None:
                    # The distance was waited for, so that nothing is waited for here.
                    self.core.finite.check()

            # What a method does outside its phases is part of the edit too.
            phase, device = ("drag", None) if self.core is None else (OTHER, self.core.device)
            with cost.phase(phase, device):
                # A method that needs no model takes None for one.
                return self.method.edit(self.core, working, seed=self.settings.seed, progress=progress)  # type: ignore[arg-type]
