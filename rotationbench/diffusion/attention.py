"""Attention of the UNet: which layers are self-attention, and how one pass reads the keys and values of another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0
from torch import nn

SHARED_LAYERS_FROM_END = 6
"""Of Stable Diffusion's 16 self-attention layers, numbers 10 to 15 are shared: those of the last two up blocks."""


def self_attention_layers(unet: UNet2DConditionModel) -> list[Attention]:
    """The self-attention layers in the order in which a forward pass meets them; Stable Diffusion has 0 to 15."""
    return _self_attention_in([*unet.down_blocks, unet.mid_block, *unet.up_blocks])


def up_block_self_attention_layers(unet: UNet2DConditionModel) -> list[Attention]:
    """The self-attention layers of the up blocks in their order: numbers 7 to 15 of Stable Diffusion."""
    return _self_attention_in(unet.up_blocks)


def shared_self_attention_layers(unet: UNet2DConditionModel) -> list[Attention]:
    """The layers of `mutual_self_attention` in their order: numbers 10 to 15 of Stable Diffusion."""
    return self_attention_layers(unet)[-SHARED_LAYERS_FROM_END:]


def _self_attention_in(blocks: Sequence[nn.Module]) -> list[Attention]:
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
    layers = shared_self_attention_layers(unet)
    with _processors(layers, [_KeysAndValuesOfTheFirst(layer.processor) for layer in layers]):
        yield


@contextmanager
def _processors(layers: Sequence[Attention], processors: Sequence[Any]) -> Iterator[None]:
    before = [layer.processor for layer in layers]
    try:
        for layer, processor in zip(layers, processors, strict=True):
            layer.processor = processor
        yield
    finally:
        for layer, processor in zip(layers, before, strict=True):
            layer.processor = processor


class KeysAndValues:
    """Keys and values that some attention layers computed in one pass, as their projections gave them.

    Args:
        layers: the attention layers.
    """

    def __init__(self, layers: Sequence[Attention]) -> None:
        self.layers = tuple(layers)
        self.keys: list[torch.Tensor | None] = [None] * len(layers)
        self.values: list[torch.Tensor | None] = [None] * len(layers)


class _Projections:
    """An attention layer with other projections to keys and values, for its processor to work with."""

    def __init__(
        self,
        layer: Attention,
        to_k: Callable[[torch.Tensor], torch.Tensor],
        to_v: Callable[[torch.Tensor], torch.Tensor],
    ) -> None:
        self.layer, self.to_k, self.to_v = layer, to_k, to_v

    def __getattr__(self, name: str) -> Any:
        return getattr(self.layer, name)


class _Recording:
    """Runs another attention processor and keeps the keys and values that it computes."""

    def __init__(self, processor: Any, store: KeysAndValues, index: int) -> None:
        self.processor, self.store, self.index = processor, store, index

    def __call__(self, attn: Attention, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        def to_k(states: torch.Tensor) -> torch.Tensor:
            key = self.store.keys[self.index] = attn.to_k(states)
            return key

        def to_v(states: torch.Tensor) -> torch.Tensor:
            value = self.store.values[self.index] = attn.to_v(states)
            return value

        return self.processor(_Projections(attn, to_k, to_v), hidden_states, *args, **kwargs)


class _Lent:
    """Runs another attention processor with keys and values that are given."""

    def __init__(self, processor: Any, key: torch.Tensor, value: torch.Tensor) -> None:
        self.processor, self.key, self.value = processor, key, value

    def __call__(self, attn: Attention, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        batch = hidden_states.shape[0]

        def to_k(states: torch.Tensor) -> torch.Tensor:
            return self.key.expand(batch, -1, -1)

        def to_v(states: torch.Tensor) -> torch.Tensor:
            return self.value.expand(batch, -1, -1)

        return self.processor(_Projections(attn, to_k, to_v), hidden_states, *args, **kwargs)


@contextmanager
def recorded_keys_and_values(layers: Sequence[Attention]) -> Iterator[KeysAndValues]:
    """Inside the block, a pass of the UNet leaves the keys and values of `layers` in what is yielded.

    Of several passes the last one's are kept. The pass itself computes what it would compute outside. The processors
    that were set before are set again afterwards, also after an error.

    Args:
        layers: attention layers of one UNet, such as `self_attention_layers` gives.
    """
    store = KeysAndValues(layers)
    with _processors(layers, [_Recording(layer.processor, store, index) for index, layer in enumerate(layers)]):
        yield store


@contextmanager
def lent_keys_and_values(store: KeysAndValues) -> Iterator[None]:
    """Inside the block, the layers of `store` take their keys and values from it instead of computing them.

    A store of a single latent serves every latent of a batch. A LoRA on the projections to keys and values has no part
    in a lent layer: the store holds what the pass that was recorded computed. The processors that were set before are
    set again afterwards, also after an error.

    Args:
        store: what `recorded_keys_and_values` yielded.

    Raises:
        ValueError: when no pass went through the layers while they were recorded.
    """
    processors = []
    for layer, key, value in zip(store.layers, store.keys, store.values, strict=True):
        if key is None or value is None:
            raise ValueError("Expected keys and values of a recorded pass, got none: the UNet was not evaluated.")
        processors.append(_Lent(layer.processor, key, value))
    with _processors(store.layers, processors):
        yield


def set_attention_kernel(unet: UNet2DConditionModel, kernel: str) -> None:
    """Choose how attention is computed: `"sdpa"` is fused and fast, `"unfused"` is plain matrix products and softmax.

    The two differ by rounding only; results recorded with one are reproduced most closely with the same one.
    """
    unet.set_attn_processor(AttnProcessor2_0() if kernel == "sdpa" else AttnProcessor())
