"""Learned perceptual distances between pictures: LPIPS and its shift-tolerant variant, both on AlexNet.

Sources: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (arXiv 1801.03924);
Ghildyal and Liu, "Shift-tolerant Perceptual Similarity Metric" (arXiv 2207.13686). Both pictures are brought to 224² as
DragDiffusion's evaluation does.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import lpips
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import AlexNet_Weights

from evaluation.metrics.checks import require_same_pictures
from rotationbench.errors import MissingWeightsError

SIDE = 224
"""Pixels on a side of what the networks are given."""


def load_lpips(device: torch.device) -> nn.Module:
    """The `lpips` package's AlexNet variant, version 0.1.

    Raises:
        MissingWeightsError: when torchvision's AlexNet is not on this machine; nothing is downloaded here.
    """
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
