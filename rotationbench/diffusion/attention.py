"""Attention of the UNet: which layers are self-attention, and how two pictures share one's keys and values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0

SHARED_LAYERS_FROM_END = 6
"""Of Stable Diffusion's 16 self-attention layers, numbers 10 to 15 are shared: those of the last two up blocks."""


def self_attention_layers(unet: UNet2DConditionModel) -> list[Attention]:
    """The self-attention layers in the order in which a forward pass meets them."""
    blocks = [*unet.down_blocks, unet.mid_block, *unet.up_blocks]
    return [
        module
        for block in blocks
        for name, module in block.named_modules()
        if name.endswith("attn1") and isinstance(module, Attention)
    ]


class _KeysAndValuesOfTheFirst:
    """Runs another attention processor with the keys and values of the batch's first entry for every entry."""

    def __init__(self, processor: Any) -> None:
        self.processor = processor

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> torch.Tensor:
        first = hidden_states[:1].expand_as(hidden_states)
        return self.processor(attn, hidden_states, first, *args, **kwargs)


@contextmanager
def mutual_self_attention(unet: UNet2DConditionModel) -> Iterator[None]:
    """Inside the block, the last six self-attention layers read keys and values from the batch's first entry.

    Source: MasaCtrl (arXiv 2304.08465), as DragDiffusion (arXiv 2306.14435, section 3.4) uses it: layers 10 to 15 of
    Stable Diffusion's 16. The processors that were set before are set again afterwards, also after an error.
    """
    layers = self_attention_layers(unet)[-SHARED_LAYERS_FROM_END:]
    before = [layer.processor for layer in layers]
    try:
        for layer, processor in zip(layers, before, strict=True):
            layer.processor = _KeysAndValuesOfTheFirst(processor)
        yield
    finally:
        for layer, processor in zip(layers, before, strict=True):
            layer.processor = processor


def set_attention_kernel(unet: UNet2DConditionModel, kernel: str) -> None:
    """Choose how attention is computed: `"sdpa"` is fused and fast, `"unfused"` is plain matrix products and softmax.

    The two differ by rounding only; results recorded with one are reproduced most closely with the same one.
    """
    unet.set_attn_processor(AttnProcessor2_0() if kernel == "sdpa" else AttnProcessor())
