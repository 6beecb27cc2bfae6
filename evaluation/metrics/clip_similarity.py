"""CLIP similarity: how alike two pictures are to a model that was trained on pictures and their captions.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (arXiv 2103.00020); as a
measure of edits, DragDiffusion (arXiv 2306.14435), which uses ViT-B/16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from rotationbench.errors import MissingWeightsError


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
