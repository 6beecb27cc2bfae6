"""CLIP similarity: how alike two pictures are to a model that was trained on pictures and their captions.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (arXiv 2103.00020); as a
measure of edits, DragDiffusion (arXiv 2306.14435), whose released script uses ViT-B/32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from evaluation.metrics.base import Edited, Metric, MetricFamily, Tools, Values
from rotationbench.errors import MissingWeightsError

if TYPE_CHECKING:
    from rotationbench.diffusion.core import StableDiffusion

VIT_B16 = "openai/clip-vit-base-patch16"
VIT_B32 = "openai/clip-vit-base-patch32"


@dataclass(frozen=True)
class ClipVision:
    """CLIP's picture tower with its projection, and how it wants pictures prepared."""

    model: nn.Module
    processor: Any
    device: torch.device


def load_clip(pretrained: str, device: torch.device) -> ClipVision:
    """CLIP from a folder or from the hub's cache on this machine.

    Raises:
        MissingWeightsError: when it is not there; nothing is downloaded here.
    """
    from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection  # noqa: PLC0415 - slow to import

    try:
        model = CLIPVisionModelWithProjection.from_pretrained(pretrained, local_files_only=True)
        processor = CLIPImageProcessor.from_pretrained(pretrained, local_files_only=True)
    except OSError as error:
        raise MissingWeightsError(f"hf download {pretrained}") from error
    return ClipVision(model.to(device).eval(), processor, device)


@torch.no_grad()
def clip_similarities(
    clip: ClipVision, references: Sequence[np.ndarray], pictures: Sequence[np.ndarray]
) -> list[float]:
    """Cosine similarity of the projected picture embeddings, pair by pair.

    Args:
        clip: from `load_clip`.
        references: `B` pictures, uint8 `(H, W, 3)`.
        pictures: `B` pictures, uint8 `(H, W, 3)`; sizes need not agree.

    Returns:
        `B` values in [-1, 1].

    Raises:
        ValueError: when there are not as many pictures as references.
    """
    if len(references) != len(pictures):
        raise ValueError(f"Expected as many pictures as references, got {len(pictures)} and {len(references)}.")
    first, second = _embed(clip, references), _embed(clip, pictures)
    return F.cosine_similarity(first, second).tolist()


def _embed(clip: ClipVision, pictures: Sequence[np.ndarray]) -> torch.Tensor:
    """Embeddings `(B, D)`."""
    inputs = clip.processor(images=[Image.fromarray(picture) for picture in pictures], return_tensors="pt")
    return clip.model(pixel_values=inputs["pixel_values"].to(clip.device)).image_embeds


class ClipFamily(MetricFamily):
    """CLIP similarity of the edited and the source picture by one model, under the name of one metric.

    Attributes:
        pretrained: hub id or folder of the model.
    """

    pretrained: str

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self._clip: Any = None

    def prepare(self) -> None:
        """See `MetricFamily.prepare`."""
        self._clip = load_clip(self.pretrained, self.tools.device)

    def described_tools(self, core: StableDiffusion | None) -> str:
        """See `MetricFamily.described_tools`."""
        return f"clip {self.pretrained}"

    def measure(self, edit: Edited) -> Values:
        """See `MetricFamily.measure`."""
        (value,) = clip_similarities(self._clip, [edit.sample.image], [edit.picture])
        return {self.metrics[0].name: value}


class Clip(ClipFamily):
    """By the model that `evaluator.clip` names."""

    metrics = (Metric("clip_similarity", "CLIP", "higher", "", "fidelity", 30, digits=3),)

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self.pretrained = tools.clip


class ClipB32(ClipFamily):
    """By ViT-B/32, as DragDiffusion's script."""

    metrics = (
        Metric(
            "clip_b32",
            "CLIP B/32",
            "higher",
            "",
            "published",
            60,
            digits=3,
            published="DragDiffusion's script, by CLIP's ViT-B/32; ours is by ViT-B/16.",
        ),
    )
    pretrained = VIT_B32


class ClipB16(ClipFamily):
    """By ViT-B/16, whatever `evaluator.clip` names."""

    metrics = (
        Metric(
            "clip_b16",
            "CLIP B/16",
            "higher",
            "",
            "published",
            61,
            digits=3,
            published="By CLIP's ViT-B/16, as papers that name it; ours is the same.",
        ),
    )
    pretrained = VIT_B16
