"""Learned perceptual distances between pictures: LPIPS and its shift-tolerant variant, both on AlexNet.

Sources: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (arXiv 1801.03924);
Ghildyal and Liu, "Shift-tolerant Perceptual Similarity Metric" (arXiv 2207.13686). Both pictures are brought to 224² as
DragDiffusion's evaluation does.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from evaluation.metrics.base import Edited, Metric, MetricFamily, Tools, Values, installed_version
from evaluation.metrics.checks import require_same_pictures
from evaluation.metrics.regions import target_regions
from rotationbench.errors import MissingWeightsError

if TYPE_CHECKING:
    from rotationbench.diffusion.core import StableDiffusion

SIDE = 224
"""Pixels on a side of what the networks are given."""


def load_lpips(device: torch.device) -> nn.Module:
    """The `lpips` package's AlexNet variant, version 0.1.

    Raises:
        MissingWeightsError: when torchvision's AlexNet is not on this machine; nothing is downloaded here.
    """
    import lpips  # noqa: PLC0415 - it imports torchvision, and both take seconds
    from torchvision.models import AlexNet_Weights  # noqa: PLC0415

    file_name = Path(AlexNet_Weights.DEFAULT.url).name
    if not (Path(torch.hub.get_dir()) / "checkpoints" / file_name).is_file():
        raise MissingWeightsError("python -c \"from torchvision.models import alexnet; alexnet(weights='DEFAULT')\"")
    with warnings.catch_warnings():
        # The package still loads torchvision's models by their former arguments.
        warnings.simplefilter("ignore", UserWarning)
        return lpips.LPIPS(net="alex", version="0.1", verbose=False).to(device)


def load_st_lpips(device: torch.device) -> nn.Module:
    """The `stlpips_pytorch` package's AlexNet variant; all its weights are inside the package."""
    from stlpips_pytorch import stlpips  # noqa: PLC0415 - it imports IPython, which takes a second

    return stlpips.LPIPS(net="alex", variant="shift_tolerant", verbose=False).to(device)


@torch.no_grad()
def perceptual_distances(
    network: nn.Module, references: Sequence[np.ndarray], pictures: Sequence[np.ndarray], device: torch.device
) -> list[float]:
    """Distance of each picture to its reference, both resized to 224² bilinearly.

    Args:
        network: from `load_lpips` or `load_st_lpips`.
        references: `B` pictures, uint8 `(H, W, 3)`.
        pictures: `B` pictures, each of its reference's size.
        device: where the network is.

    Returns:
        `B` distances, 0 for identical pictures.

    Raises:
        ValueError: when a picture has another size than its reference.
    """
    for reference, picture in zip(references, pictures, strict=True):
        require_same_pictures(reference, picture)
    distances = network(_network_input(references, device), _network_input(pictures, device))
    return distances.flatten().tolist()


def _network_input(pictures: Sequence[np.ndarray], device: torch.device) -> torch.Tensor:
    """float32 `(B, 3, 224, 224)` in [-1, 1]."""
    resized = []
    for picture in pictures:
        tensor = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].to(device, torch.float32)
        resized.append(F.interpolate(tensor / 127.5 - 1, size=(SIDE, SIDE), mode="bilinear", align_corners=False))
    return torch.cat(resized)


class PerceptualDistance(MetricFamily):
    """A learned distance against the source and against the exact result.

    Inside and outside the region of the turn are measured with everything else taken from the exact result; the two are
    not divided by the region's area, and add up to about the distance of the whole.
    """

    name: ClassVar[str]

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self._network: Any = None

    def measure(self, edit: Edited) -> Values:
        """See `MetricFamily.measure`."""
        values: Values = {}
        if self.name in edit.names:
            values[self.name] = self._distance(edit.sample.image, edit.picture)
        for prefix, target, region in target_regions(edit.sample):
            name = f"{prefix}{self.name}_target"
            if name in edit.names:
                picture = edit.picture if region is None else np.where(region[..., None], edit.picture, target)
                values[name] = self._distance(target, picture)
        return values

    def _distance(self, reference: np.ndarray, picture: np.ndarray) -> float:
        return perceptual_distances(self._network, [reference], [picture], self.tools.device)[0]


class Lpips(PerceptualDistance):
    """LPIPS of AlexNet, and image fidelity, which is 1 − LPIPS."""

    metrics = (
        Metric(
            "image_fidelity",
            "IF",
            "higher",
            "",
            "fidelity",
            10,
            digits=3,
            fast=True,
            published="DragDiffusion's script, 1 − LPIPS; ours is the same.",
        ),
        Metric(
            "lpips",
            "LPIPS",
            "lower",
            "",
            "fidelity",
            11,
            digits=3,
            fast=True,
            main=True,
            published="DragDiffusion's script, AlexNet 0.1 at 224²; ours is the same. RegionDrag's: half precision.",
        ),
        Metric("lpips_target", "LPIPS to target", "lower", "", "target", 12, digits=3),
        Metric("inside_lpips_target", "inside LPIPS to target", "lower", "", "target", 22, digits=3),
        Metric("outside_lpips_target", "outside LPIPS to target", "lower", "", "target", 32, digits=3),
    )
    name = "lpips"

    def prepare(self) -> None:
        """See `MetricFamily.prepare`."""
        self._network = load_lpips(self.tools.device)

    def measure(self, edit: Edited) -> Values:
        """See `MetricFamily.measure`."""
        names = {*edit.names, "lpips"} if "image_fidelity" in edit.names else edit.names
        values = super().measure(replace(edit, names=names))
        distance = values.get("lpips")
        if "image_fidelity" in edit.names and distance is not None:
            values["image_fidelity"] = 1 - distance
        return values

    def described_tools(self, core: StableDiffusion | None) -> str:
        """See `MetricFamily.described_tools`."""
        return f"lpips {installed_version('lpips')} alex 0.1"


class ShiftTolerantLpips(PerceptualDistance):
    """The shift-tolerant LPIPS of AlexNet, whose weights are part of a package."""

    metrics = (
        Metric("st_lpips", "ST-LPIPS", "lower", "", "fidelity", 20, digits=3, fast=True, main=True),
        Metric("st_lpips_target", "ST-LPIPS to target", "lower", "", "target", 13, digits=3),
        Metric("inside_st_lpips_target", "inside ST-LPIPS to target", "lower", "", "target", 23, digits=3),
        Metric("outside_st_lpips_target", "outside ST-LPIPS to target", "lower", "", "target", 33, digits=3),
    )
    name = "st_lpips"

    def prepare(self) -> None:
        """See `MetricFamily.prepare`."""
        self._network = load_st_lpips(self.tools.device)

    def described_tools(self, core: StableDiffusion | None) -> str:
        """See `MetricFamily.described_tools`."""
        return f"stlpips-pytorch {installed_version('stlpips-pytorch')} alex shift_tolerant"
