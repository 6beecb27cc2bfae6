"""SuperPoint (DeTone et al., arXiv 1712.07629) through transformers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from huggingface_hub import get_hf_file_metadata, hf_hub_url
from transformers import SuperPointConfig, SuperPointForKeypointDetection

from evaluation.table1.features.base import LocalFeatures, Runtime
from evaluation.table1.features.selection import Selection, select
from evaluation.table1.features.weights import read_state_dict
from rotationbench.config import resolve_path
from rotationbench.diffusion.devices import resolve_device
from rotationbench.diffusion.loading import hash_weights
from rotationbench.errors import MissingWeightsError

HUB_ID = "magic-leap-community/superpoint"

HUB_TIMEOUT = 10.0
"""Seconds to wait for the hub's first answer."""

CELL = 8
"""Side in pixels of the cells that the network looks at."""

ORIGINAL_NAMES = tuple(
    f"conv{layer}.{kind}"
    for layer in ("1a", "1b", "2a", "2b", "3a", "3b", "4a", "4b", "Pa", "Pb", "Da", "Db")
    for kind in ("weight", "bias")
)
"""Parameters of the original release."""

STATE_DICT_ENDINGS = (".pth", ".pt", ".bin", ".safetensors")


@dataclass
class SuperPoint(Selection):
    """Settings of SuperPoint.

    Args:
        pretrained: hub id, folder in the hub's layout, or a state dict in the layer names of the original release.

    The others are those of `Selection`.
    """

    version: ClassVar[int] = 2
    parallel: ClassVar[bool] = False
    metric: ClassVar[str] = "l2"

    pretrained: str = HUB_ID

    def load(self, runtime: Runtime) -> SuperPointExtractor:
        """The extractor, on the runtime's device."""
        return SuperPointExtractor(self, resolve_device(runtime.device))


class SuperPointExtractor:
    """SuperPoint of pictures; see `Extractor`."""

    def __init__(self, settings: SuperPoint, device: torch.device) -> None:
        self._device, self._max_keypoints = device, settings.max_keypoints
        self._model = load_superpoint(settings.pretrained).to(device).eval()
        decoder = self._model.keypoint_decoder
        # Its own choice comes before keypoints at the right and the lower border are dropped, which it keeps.
        decoder.max_keypoints = -1
        decoder.keypoint_threshold = settings.keypoint_threshold
        decoder.nms_radius = settings.nms_radius
        self.identity: dict[str, Any] = {"weights": hash_weights(self._model)}
        self.note = ""

    @torch.no_grad()
    def reference(self, image: np.ndarray) -> LocalFeatures:
        """Features of a picture uint8 `(H, W, 3)`; its sides should be multiples of 8 px, rests are not looked at."""
        grey = torch.from_numpy(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)).to(self._device, torch.float32) / 255
        output = self._model(grey[None, None])
        height, width = image.shape[:2]
        # The model gives positions as fractions of the picture's sides.
        xy = (output.keypoints[0].to(torch.float64) * torch.tensor([width, height], device=self._device)).round()
        chosen = select(xy, output.scores[0], (height // CELL * CELL, width // CELL * CELL), self._max_keypoints)
        return LocalFeatures(xy[chosen].cpu().numpy(), output.descriptors[:, chosen])

    warped = reference


def load_superpoint(pretrained: str) -> SuperPointForKeypointDetection:
    """The model behind a hub id, a folder or a file; see `SuperPoint.pretrained`.

    Raises:
        MissingWeightsError: when there is nothing of that name here or on the hub.
        CheckpointError: when the file is no state dict of SuperPoint.
    """
    path = Path(resolve_path(pretrained))
    if path.is_file():
        return _from_original(path)
    if not path.is_dir() and (path.suffix in STATE_DICT_ENDINGS or path.is_absolute()):
        raise MissingWeightsError(f"superpoint={pretrained}: expected a folder or a file, got nothing.")
    try:
        if path.is_dir():
            return SuperPointForKeypointDetection.from_pretrained(str(path), local_files_only=True)
        return _from_hub(pretrained)
    except OSError as error:
        raise MissingWeightsError(
            f"SuperPoint's weights are not at hand ({pretrained}); fetch them with `hf download {HUB_ID}`, or name a "
            "local copy: superpoint=<folder or file>."
        ) from error


def _from_hub(hub_id: str) -> SuperPointForKeypointDetection:
    try:
        return SuperPointForKeypointDetection.from_pretrained(hub_id, local_files_only=True)
    except OSError:
        # Asked once: the download itself would repeat a hopeless request for half a minute.
        try:
            get_hf_file_metadata(hf_hub_url(hub_id, "config.json"), timeout=HUB_TIMEOUT)
        except Exception as error:  # the class depends on the HTTP client that the hub's library uses
            raise OSError(f"the hub does not answer: {error}") from error
        return SuperPointForKeypointDetection.from_pretrained(hub_id)


def original_names(name: str) -> str:
    """The name in transformers of a parameter of the original release, such as `conv1a.weight` or `convDb.bias`.

    Raises:
        KeyError: when the original release has no such parameter.
    """
    if match := re.fullmatch(r"conv([1-4])([ab])\.(weight|bias)", name):
        return f"encoder.conv_blocks.{int(match[1]) - 1}.conv_{match[2]}.{match[3]}"
    if match := re.fullmatch(r"conv([PD])([ab])\.(weight|bias)", name):
        part = "keypoint_decoder.conv_score" if match[1] == "P" else "descriptor_decoder.conv_descriptor"
        return f"{part}_{match[2]}.{match[3]}"
    raise KeyError(name)


def _from_original(path: Path) -> SuperPointForKeypointDetection:
    model = SuperPointForKeypointDetection(SuperPointConfig())
    own = model.state_dict()
    shapes = {name: tuple(own[original_names(name)].shape) for name in ORIGINAL_NAMES}
    state = read_state_dict(path, shapes, "SuperPoint's original release")
    model.load_state_dict({original_names(name): value for name, value in state.items()})
    return model
