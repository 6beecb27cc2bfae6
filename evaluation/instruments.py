"""What measures the metrics: each instrument holds the models its metrics need and knows how to name its settings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Any, ClassVar

import cv2
import numpy as np
import torch

from evaluation.catalogue import DAI_RADII
from evaluation.metrics.clip_similarity import clip_similarities, load_clip
from evaluation.metrics.dai import dragging_accuracy_index
from evaluation.metrics.mean_distance import mean_distance
from evaluation.metrics.mm_distance import search_discs
from evaluation.metrics.perceptual import load_lpips, load_st_lpips, perceptual_distances
from evaluation.metrics.psnr import psnr
from evaluation.metrics.regions import touched_region
from evaluation.metrics.rotation import measure_turn, rotation_error, wanted_turn
from evaluation.metrics.ssim import ssim
from rotationbench.diffusion.core import StableDiffusion
from rotationbench.diffusion.dift import DiftSettings, dift_features
from rotationbench.errors import ConfigError
from rotationbench.sample import DragSample

REMEMBERED_FEATURES = 64
"""Source pictures whose features are kept, so that every method on the same sample shares one pass."""
MATCH_MARGIN = 0.02
"""Share of the long side by which the turned object may leave the mask and still be found."""

Values = dict[str, list[float | None]]
"""Per metric a value for each edit; None where a metric does not apply or could not be determined."""


@dataclass(frozen=True, eq=False)
class Job:
    """Several edits of one sample that are to be measured.

    Args:
        names: the metrics that are wanted.
        sample: what was asked for.
        edits: what came, each uint8 `(H, W, 3)`.
        core: the model for diffusion features.
        seed: seed of the features' noise.
    """

    names: Collection[str]
    sample: DragSample
    edits: Sequence[np.ndarray]
    core: StableDiffusion | None
    seed: int


class Instrument(ABC):
    """Measures some metrics of several edits of one sample.

    Attributes:
        names: the metrics.
        revision: raised with every change of the code that changes values.
    """

    names: ClassVar[tuple[str, ...]]
    revision: ClassVar[int] = 1

    def prepare(self) -> None:  # noqa: B027 - most instruments need nothing
        """Load what is needed.

        Raises:
            MissingWeightsError: when weights are not on this machine; its message is the command that fetches them.
        """

    def settings(self, core: StableDiffusion | None, seed: int) -> str:
        """A text that changes whenever values measured earlier are no longer what would be measured now."""
        return f"v{self.revision} {self._tools(core, seed)}".strip()

    @abstractmethod
    def measure(self, job: Job) -> Values:
        """Measure at least the names of the job that are this instrument's."""

    def _tools(self, core: StableDiffusion | None, seed: int) -> str:
        """The models, packages and options that the values come from."""
        return ""


class PairDistances(Instrument):
    """Mean distance, of handles and of pivots apart, and masked mean distance, from one feature pass per picture.

    Args:
        dift: settings of the features; the sample's prompt replaces the one in there.
        load_model: loads the model that features come from; None means the model that is handed over with the edits.
    """

    names = ("mean_distance", "mean_distance_pivot", "mm_distance")

    def __init__(self, dift: DiftSettings, load_model: Callable[[], StableDiffusion] | None) -> None:
        self.dift, self._load_model = dift, load_model
        self._own: StableDiffusion | None = None
        self._sources: OrderedDict[tuple[str, str, int], torch.Tensor] = OrderedDict()

    def prepare(self) -> None:
        """Load the features' own model, where one is named."""
        if self._load_model is not None and self._own is None:
            self._own = self._load_model()

    def _tools(self, core: StableDiffusion | None, seed: int) -> str:
        model = self._model(core)
        options = {name: value for name, value in asdict(self.dift).items() if name not in ("prompt", "batch")}
        listing = " ".join(f"{name}={value}" for name, value in options.items())
        return f"dift weights={model.weights_hash} dtype={model.dtype} {listing} seed={seed}"

    def measure(self, job: Job) -> Values:
        """See `Instrument.measure`."""
        model, sample = self._model(job.core), job.sample
        dift = replace(self.dift, prompt=sample.prompt)
        before = self._source_features(model, sample, dift, job.seed)
        after = [dift_features(model, edited, dift, seed=job.seed) for edited in job.edits]
        values: Values = {}
        for name in job.names:
            if name not in self.names:
                continue
            pairs = sample.is_pivot if name == "mean_distance_pivot" else ~sample.is_pivot
            sources, targets = sample.sources[pairs], sample.targets[pairs]
            if len(sources) == 0:
                values[name] = [None] * len(job.edits)
                continue
            within = search_discs(sources, targets, sample.size) if name == "mm_distance" else None
            values[name] = [
                mean_distance(before, features, sources, targets, sample.size, within=within) for features in after
            ]
        return values

    def _model(self, core: StableDiffusion | None) -> StableDiffusion:
        model = self._own if self._own is not None else core
        if model is None:
            raise ConfigError("metrics: mean_distance and mm_distance need a diffusion model, got none.")
        return model

    def _source_features(
        self, model: StableDiffusion, sample: DragSample, dift: DiftSettings, seed: int
    ) -> torch.Tensor:
        key = (model.weights_hash, sample.digest, seed)
        if key not in self._sources:
            self._sources[key] = dift_features(model, sample.image, dift, seed=seed)
        self._sources.move_to_end(key)
        while len(self._sources) > REMEMBERED_FEATURES:
            self._sources.popitem(last=False)
        return self._sources[key]


class DraggingAccuracy(Instrument):
    """DAI at four radii, over the pairs that are to be dragged."""

    names = tuple(f"dai_{radius}" for radius in DAI_RADII)

    def measure(self, job: Job) -> Values:
        """See `Instrument.measure`."""
        sample, edits = job.sample, job.edits
        sources, targets = sample.sources[~sample.is_pivot], sample.targets[~sample.is_pivot]
        if len(sources) == 0:
            return {name: [None] * len(edits) for name in self.names}
        return {
            f"dai_{radius}": [
                dragging_accuracy_index(sample.image, edited, sources, targets, radius) for edited in edits
            ]
            for radius in DAI_RADII
        }


class Rotation(Instrument):
    """The turn that the object made, how sure that is, and how far it is from the turn that was asked for."""

    names = ("rotation_error", "rotation_turn", "rotation_confidence")

    def _tools(self, core: StableDiffusion | None, seed: int) -> str:
        return f"opencv {cv2.__version__}"

    def measure(self, job: Job) -> Values:
        """See `Instrument.measure`."""
        sample = job.sample
        values: Values = {name: [] for name in self.names}
        object_mask = sample.meta.object_mask if sample.meta.object_mask is not None else sample.mask
        wanted = wanted_turn(sample)
        for edited in job.edits:
            turn = None
            if object_mask is not None:
                turn = measure_turn(sample.image, edited, object_mask, _search_region(sample))
            values["rotation_turn"].append(None if turn is None else turn.angle)
            values["rotation_confidence"].append(None if turn is None else turn.confidence)
            error = None if turn is None or wanted is None else rotation_error(turn.angle, wanted)
            values["rotation_error"].append(error)
        return values


class SourceFidelity(Instrument):
    """PSNR and SSIM against the source picture: of everything, outside the mask, and off the region of the turn."""

    names = ("psnr", "ssim", "background_psnr", "untouched_psnr")

    def _tools(self, core: StableDiffusion | None, seed: int) -> str:
        return f"scikit-image {version('scikit-image')}"

    def measure(self, job: Job) -> Values:
        """See `Instrument.measure`."""
        sample = job.sample
        values: Values = {name: [] for name in self.names}
        touched = touched_region(sample)
        for edited in job.edits:
            values["psnr"].append(psnr(sample.image, edited))
            values["ssim"].append(ssim(sample.image, edited))
            for name, region in (("background_psnr", sample.mask), ("untouched_psnr", touched)):
                values[name].append(None if region is None else psnr(sample.image, edited, ~region))
        return values


class TargetFidelity(Instrument):
    """PSNR and SSIM against the exact result: of everything, inside and outside the region of the turn."""

    names = tuple(f"{region}{name}_target" for region in ("", "inside_", "outside_") for name in ("psnr", "ssim"))

    def _tools(self, core: StableDiffusion | None, seed: int) -> str:
        return f"scikit-image {version('scikit-image')}"

    def measure(self, job: Job) -> Values:
        """See `Instrument.measure`."""
        sample, edits = job.sample, job.edits
        values: Values = {name: [None] * len(edits) for name in self.names}
        if sample.target is None:
            return values
        touched = touched_region(sample)
        regions: dict[str, np.ndarray | None] = {"": None}
        if touched is not None:
            regions |= {"inside_": touched, "outside_": ~touched}
        for prefix, region in regions.items():
            values[f"{prefix}psnr_target"] = [psnr(sample.target, edited, region) for edited in edits]
            values[f"{prefix}ssim_target"] = [ssim(sample.target, edited, region) for edited in edits]
        return values


class PerceptualDistance(Instrument):
    """A learned distance against the source and against the exact result.

    Inside and outside the region of the turn are measured with everything else taken from the exact result; the two are
    not divided by the region's area, and add up to about the distance of the whole.

    Args:
        device: where to compute.
        batch_size: pairs of pictures per pass.
    """

    name: ClassVar[str]

    def __init__(self, device: torch.device, batch_size: int) -> None:
        self.device, self.batch_size = device, batch_size
        self._network: Any = None

    def measure(self, job: Job) -> Values:
        """See `Instrument.measure`."""
        name, count = self.name, len(job.edits)
        target, touched = job.sample.target, touched_region(job.sample)
        values: Values = {}
        if name in job.names:
            values[name] = self._distances([job.sample.image] * count, job.edits)
        for prefix, kept in (("", None), ("inside_", touched), ("outside_", None if touched is None else ~touched)):
            column = f"{prefix}{name}_target"
            if column not in job.names:
                continue
            if target is None or (prefix and kept is None):
                values[column] = [None] * count
            else:
                edits = job.edits if kept is None else [np.where(kept[..., None], item, target) for item in job.edits]
                values[column] = self._distances([target] * count, edits)
        return values

    def _distances(self, references: Sequence[np.ndarray], pictures: Sequence[np.ndarray]) -> list[float | None]:
        found: list[float | None] = []
        for start in range(0, len(pictures), self.batch_size):
            part = slice(start, start + self.batch_size)
            found += perceptual_distances(self._network, references[part], pictures[part], self.device)
        return found


class Lpips(PerceptualDistance):
    """LPIPS of AlexNet, and image fidelity, which is 1 − LPIPS."""

    names = ("lpips", "image_fidelity", "lpips_target", "inside_lpips_target", "outside_lpips_target")
    name = "lpips"

    def prepare(self) -> None:
        """Load the network."""
        self._network = load_lpips(self.device)

    def measure(self, job: Job) -> Values:
        """See `Instrument.measure`."""
        values = super().measure(replace(job, names={*job.names, "lpips"}))
        values["image_fidelity"] = [None if value is None else 1 - value for value in values["lpips"]]
        return values

    def _tools(self, core: StableDiffusion | None, seed: int) -> str:
        return f"lpips {version('lpips')} alex 0.1"


class ShiftTolerantLpips(PerceptualDistance):
    """The shift-tolerant LPIPS of AlexNet, whose weights are part of a package."""

    names = ("st_lpips", "st_lpips_target", "inside_st_lpips_target", "outside_st_lpips_target")
    name = "st_lpips"

    def prepare(self) -> None:
        """Load the network."""
        self._network = load_st_lpips(self.device)

    def _tools(self, core: StableDiffusion | None, seed: int) -> str:
        return f"stlpips-pytorch {version('stlpips-pytorch')} alex shift_tolerant"


class Clip(Instrument):
    """CLIP similarity of the edited and the source picture.

    Args:
        pretrained: hub id or folder.
        device: where to compute.
        batch_size: pictures per pass.
    """

    names = ("clip_similarity",)

    def __init__(self, pretrained: str, device: torch.device, batch_size: int) -> None:
        self.pretrained, self.device, self.batch_size = pretrained, device, batch_size
        self._clip: Any = None

    def prepare(self) -> None:
        """Load the model."""
        self._clip = load_clip(self.pretrained, self.device)

    def _tools(self, core: StableDiffusion | None, seed: int) -> str:
        return f"clip {self.pretrained}"

    def measure(self, job: Job) -> Values:
        """See `Instrument.measure`."""
        found: list[float | None] = []
        for start in range(0, len(job.edits), self.batch_size):
            part = job.edits[start : start + self.batch_size]
            found += clip_similarities(self._clip, [job.sample.image] * len(part), part)
        return {"clip_similarity": found}


def _search_region(sample: DragSample) -> np.ndarray | None:
    """Where the object may be after the edit: where the picture may change, the object's own place, and a margin."""
    if sample.mask is None:
        return None
    region = sample.mask.copy()
    for mask in (sample.meta.object_mask, touched_region(sample)):
        if mask is not None:
            region |= mask
    margin = 2 * round(MATCH_MARGIN * max(sample.size)) + 1
    return cv2.dilate(region.astype(np.uint8), np.ones((margin, margin), np.uint8)).astype(bool)
