"""SuperPoint with the weights that its re-implementation publishes under the MIT licence (github:rpautrat/SuperPoint).

The architecture is that of DeTone et al. (arXiv 1712.07629) but for a batch normalisation *after* each activation. It
cannot be folded into the convolution that follows, because that one pads with zeros.
"""

from __future__ import annotations

import shlex
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from evaluation.table1.features.base import LocalFeatures, Runtime
from evaluation.table1.features.selection import Selection, select
from evaluation.table1.features.weights import read_state_dict
from rotationbench.config import resolve_path
from rotationbench.diffusion.devices import resolve_device
from rotationbench.errors import MissingWeightsError
from rotationbench.files import sha256_of_file

URL = "https://github.com/rpautrat/SuperPoint/raw/master/weights/superpoint_v6_from_tf.pth"
DEFAULT_WEIGHTS = ".rotationbench-cache/superpoint_open/superpoint_v6_from_tf.pth"

CELL = 8
"""Side in pixels of the cells that the network looks at."""
CHANNELS = (64, 64, 128, 128)
HEAD_CHANNELS = 256
DESCRIPTOR_CHANNELS = 256
NORM_EPSILON = 1e-3
SUPPRESSION_ROUNDS = 2


@dataclass
class SuperPointOpen(Selection):
    """Settings of SuperPoint with open weights.

    Args:
        weights: the published state dict, as `.pth` or `.safetensors`.

    The others are those of `Selection`.
    """

    version: ClassVar[int] = 1
    parallel: ClassVar[bool] = False
    metric: ClassVar[str] = "l2"

    weights: str = DEFAULT_WEIGHTS

    def load(self, runtime: Runtime) -> SuperPointOpenExtractor:
        """The extractor, on the runtime's device.

        Raises:
            MissingWeightsError: when there is no file of that name.
            CheckpointError: when the file does not hold the network's tensors.
        """
        return SuperPointOpenExtractor(self, resolve_device(runtime.device))


class SuperPointOpenExtractor:
    """SuperPoint of pictures; see `Extractor`."""

    def __init__(self, settings: SuperPointOpen, device: torch.device) -> None:
        path = Path(resolve_path(settings.weights)).expanduser()
        if not path.is_file():
            got = "a folder" if path.is_dir() else "nothing"
            raise MissingWeightsError(
                f"superpoint_open={settings.weights}: expected SuperPoint's open weights, got {got}; fetch them (5 MB) "
                f"with `curl -fL --create-dirs -o {shlex.quote(str(path))} {URL}`."
            )
        self._settings, self._device = settings, device
        self._network = load_network(path).to(device)
        self.identity: dict[str, Any] = {"weights": sha256_of_file(path)}
        self.note = ""

    @torch.no_grad()
    def reference(self, image: np.ndarray) -> LocalFeatures:
        """Features of a picture uint8 `(H, W, 3)`; its sides should be multiples of 8 px, rests are not looked at."""
        grey = torch.from_numpy(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)).to(self._device, torch.float32) / 255
        logits, cells = self._network(grey[None, None])
        settings = self._settings
        scores = suppress(F.pixel_shuffle(logits[0].softmax(dim=0)[:-1], CELL)[0], settings.nms_radius)
        rows, columns = torch.nonzero(scores > settings.keypoint_threshold, as_tuple=True)
        xy = torch.stack([columns, rows], dim=1).to(scores.dtype)
        size = (scores.shape[0], scores.shape[1])
        xy = xy[select(xy, scores[rows, columns], size, settings.max_keypoints)]
        descriptors = describe(F.normalize(cells[0], dim=0), xy)
        return LocalFeatures(xy.cpu().to(torch.float64).numpy(), descriptors[None])

    warped = reference


class SuperPointNetwork(nn.Module):
    """The network: a grey picture `(B, 1, H, W)` in [0, 1] becomes logits `(B, 65, H/8, W/8)`, one per pixel of a cell
    and one for "no keypoint", and descriptors `(B, 256, H/8, W/8)` that are not normalised.
    """

    def __init__(self) -> None:
        super().__init__()
        inputs = (1, *CHANNELS)
        self.backbone = nn.Sequential()
        for index, (before, after) in enumerate(zip(inputs, CHANNELS, strict=False)):
            pool = [nn.MaxPool2d(2)] if index < len(CHANNELS) - 1 else []
            self.backbone.append(nn.Sequential(_layer(before, after, 3), _layer(after, after, 3), *pool))
        self.detector = _head(CELL**2 + 1)
        self.descriptor = _head(DESCRIPTOR_CHANNELS)

    def forward(self, grey: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and descriptors of the picture's cells."""
        encoded = self.backbone(grey)
        return self.detector(encoded), self.descriptor(encoded)


def _layer(inputs: int, outputs: int, kernel: int, *, activated: bool = True) -> nn.Sequential:
    parts: list[tuple[str, nn.Module]] = [("conv", nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2))]
    if activated:
        parts.append(("activation", nn.ReLU(inplace=True)))
    parts.append(("bn", FrozenBatchNorm2d(outputs, eps=NORM_EPSILON)))
    return nn.Sequential(OrderedDict(parts))


def _head(outputs: int) -> nn.Sequential:
    return nn.Sequential(_layer(CHANNELS[-1], HEAD_CHANNELS, 3), _layer(HEAD_CHANNELS, outputs, 1, activated=False))


def load_network(path: Path) -> SuperPointNetwork:
    """The network with the weights of a file, in evaluation mode.

    Raises:
        CheckpointError: when the file does not hold exactly the network's tensors.
    """
    network = SuperPointNetwork()
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    network.load_state_dict(read_state_dict(path, shapes, "SuperPoint's open weights"))
    return network.eval().requires_grad_(False)


def suppress(scores: torch.Tensor, radius: int) -> torch.Tensor:
    """Scores `(H, W)`, zero where a square of `radius` pixels about the pixel holds something larger.

    What only a suppressed neighbour had suppressed gets two further chances.
    """

    def largest_near(values: torch.Tensor) -> torch.Tensor:
        return F.max_pool2d(values[None], 2 * radius + 1, stride=1, padding=radius)[0]

    kept = scores == largest_near(scores)
    for _ in range(SUPPRESSION_ROUNDS):
        near_kept = largest_near(kept.to(scores.dtype)) > 0
        others = scores.masked_fill(near_kept, 0)
        kept = kept | ((others == largest_near(others)) & ~near_kept)
    return scores.masked_fill(~kept, 0)


def describe(cells: torch.Tensor, xy: torch.Tensor) -> torch.Tensor:
    """Unit descriptors `(N, C)` at points `(N, 2)` in pixels, between the centres of cells `(C, h, w)`.

    The pixel p lies at (p + 0.5) / 8 − 0.5 cells.
    """
    size = xy.new_tensor([cells.shape[2], cells.shape[1]]) * CELL
    grid = (xy + 0.5) / size * 2 - 1
    sampled = F.grid_sample(cells[None], grid[None, None], mode="bilinear", align_corners=False)[0, :, 0]
    return F.normalize(sampled, dim=0).T
