"""What a family of metrics is: the metrics as the tables show them, and how they are measured on an edit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from evaluation.metrics.features import PictureFeatures
from rotationbench.sample import DragSample

if TYPE_CHECKING:
    from rotationbench.diffusion.core import StableDiffusion

TABLES = ("accuracy", "fidelity", "target", "published", "cost")
"""The tables that metrics and costs belong to, in their order."""
LAST = 1000

Values = dict[str, float | None]
"""Values by metric; None where a metric does not apply to the sample or could not be determined."""


@dataclass(frozen=True)
class Metric:
    """One column of the tables.

    Args:
        name: the column's name in files.
        label: the column's name in tables and plots.
        better: `"lower"`, `"higher"`, or None when there is no better.
        unit: such as `"px"`; empty for pure numbers.
        table: the one of `TABLES` that it belongs to.
        position: its place in that table, from the left; equal ones stand by name.
        digits: decimals in tables.
        fast: part of `metrics=fast`.
        main: part of the tables that have room for few columns.
        ceiling: values above it count as this much in means and differences; None means no ceiling.
        pooled: whether the mean in tables is over all pairs of points of all edits, and not over samples.
        published: for the table of metrics as published: whose script computes it, and how it differs from ours.

    >>> Metric("psnr", "PSNR", "higher", "dB", "fidelity").title
    'PSNR [dB] ↑'
    """

    name: str
    label: str
    better: str | None
    unit: str
    table: str
    position: int = LAST
    digits: int = 2
    fast: bool = False
    main: bool = False
    ceiling: float | None = None
    pooled: bool = False
    published: str = ""

    @property
    def arrow(self) -> str:
        """↓ or ↑ for the better direction, nothing when there is none."""
        return {"lower": "↓", "higher": "↑", None: ""}[self.better]

    @property
    def quantity(self) -> str:
        """Label and unit, as an axis has them."""
        return f"{self.label} [{self.unit}]" if self.unit else self.label

    @property
    def title(self) -> str:
        """Label, unit and arrow, as a table's header has them."""
        return f"{self.quantity} {self.arrow}".strip()


@dataclass(frozen=True, eq=False)
class Edited:
    """An edit that is to be measured.

    Args:
        names: the metrics that are wanted.
        sample: what was asked for.
        picture: what came, uint8 `(H, W, 3)`.
        core: the model that was handed over for diffusion features, if any.
        seed: seed of the features' noise.
    """

    names: Collection[str]
    sample: DragSample
    picture: np.ndarray
    core: StableDiffusion | None = None
    seed: int = 0


@cache
def installed_version(package: str) -> str:
    """The version of an installed package, which takes a millisecond to find and is kept with every value."""
    return version(package)


@dataclass(frozen=True, eq=False)
class Tools:
    """What families measure with.

    Args:
        device: where networks compute.
        features: diffusion features of pictures, shared by the families.
        clip: hub id or folder of the CLIP model of `clip_similarity`.
    """

    device: torch.device
    features: PictureFeatures
    clip: str


class MetricFamily(ABC):
    """Metrics that are measured together on an edit.

    Attributes:
        metrics: the metrics.
        revision: raised with every change of the code that changes values.
        needs_features: whether it reads diffusion features.

    Args:
        tools: what to measure with.
    """

    metrics: ClassVar[tuple[Metric, ...]]
    revision: ClassVar[int] = 1
    needs_features: ClassVar[bool] = False

    def __init__(self, tools: Tools) -> None:
        self.tools = tools

    def prepare(self) -> None:  # noqa: B027 - most families need nothing
        """Load what is needed.

        Raises:
            MissingWeightsError: when weights are not on this machine; its message is the command that fetches them.
        """

    def measured_by(self, core: StableDiffusion | None, seed: int) -> Mapping[str, Any]:
        """How values come about: a mapping for JSON that differs whenever values measured earlier no longer count.

        Its fields are `revision`, `tools` (models, packages and options, as text) and, where noise is drawn, `seed`.
        """
        return {"revision": self.revision, "tools": self.described_tools(core)}

    def described_tools(self, core: StableDiffusion | None) -> str:
        """The models, packages and options that the values come from."""
        return ""

    @abstractmethod
    def measure(self, edit: Edited) -> Values:
        """Values of at least those of this family's metrics that are wanted."""


class FeatureFamily(MetricFamily):
    """Metrics that compare the diffusion features of a sample's picture and of its edit.

    Attributes:
        resolution: side in pixels of the square at which pictures are read; None leaves it to the features' settings.
        posterior_mean: whether features are those of the posterior's mean, and not of a draw.
    """

    revision: ClassVar[int] = 2
    needs_features: ClassVar[bool] = True
    resolution: ClassVar[int | None] = None
    posterior_mean: ClassVar[bool] = False

    def measured_by(self, core: StableDiffusion | None, seed: int) -> Mapping[str, Any]:
        """See `MetricFamily.measured_by`."""
        return {**super().measured_by(core, seed), "seed": seed}

    def described_tools(self, core: StableDiffusion | None) -> str:
        """See `MetricFamily.described_tools`."""
        changes: dict[str, object] = {} if self.resolution is None else {"resolution": self.resolution}
        if self.posterior_mean:
            changes["posterior"] = "mean"
        return self.tools.features.describe(core, **changes)

    def features(self, edit: Edited) -> tuple[torch.Tensor, torch.Tensor]:
        """Features `(1, C, h, w)` of the sample's picture and of the edited one."""
        before, after = (
            self.tools.features.of(
                picture,
                edit.sample.prompt,
                edit.core,
                edit.seed,
                edit_of=source,
                resolution=self.resolution,
                posterior_mean=self.posterior_mean,
            )
            for picture, source in ((edit.sample.image, None), (edit.picture, edit.sample.image))
        )
        return before, after
