"""Attention of the UNet: which layers are self-attention, and how one pass reads the keys and values of another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0
from torch import nn

from rotationbench.errors import ConfigError

ATTENTION_KERNELS = ("sdpa", "unfused")
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

    def __call__(self, attn: Attention, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        batch = hidden_states.shape[0]

        def to_k(states: torch.Tensor) -> torch.Tensor:
            return attn.to_k(states[:1]).expand(batch, -1, -1)

        def to_v(states: torch.Tensor) -> torch.Tensor:
            return attn.to_v(states[:1]).expand(batch, -1, -1)

        return self.processor(_Projections(attn, to_k, to_v), hidden_states, *args, **kwargs)


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
            key = attn.to_k(states)
            self.store.keys[self.index] = _for_autograd(key)
            return key

        def to_v(states: torch.Tensor) -> torch.Tensor:
            value = attn.to_v(states)
            self.store.values[self.index] = _for_autograd(value)
            return value

        return self.processor(_Projections(attn, to_k, to_v), hidden_states, *args, **kwargs)


def _for_autograd(tensor: torch.Tensor) -> torch.Tensor:
    """`tensor`, or a copy of what was made in inference mode, which no backward pass may use."""
    if not tensor.is_inference():
        return tensor
    with torch.inference_mode(False):
        return tensor.clone()


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


class TextMemory:
    """Tells cross-attention layers which text a pass is conditioned on, so that they project it once for many passes.

    Attributes:
        context: the text embedding `(1, 77, C)` or `(B, 77, C)` of the pass that runs; None while none does.
    """

    def __init__(self) -> None:
        self.context: torch.Tensor | None = None

    @contextmanager
    def conditioned_on(self, context: torch.Tensor) -> Iterator[None]:
        """Inside the block, passes are conditioned on `context`."""
        before, self.context = self.context, context
        try:
            yield
        finally:
            self.context = before


class _TextProjectedOnce:
    """Runs another attention processor with the keys and values of a text that it has met before.

    They are projected again when the text, or a projection's weight, is another tensor or was written to. Projections
    that are being trained or carry a LoRA beside them work each time.
    """

    def __init__(self, processor: Any, text: TextMemory) -> None:
        self.processor, self.text = processor, text
        self.made_of: tuple[torch.Tensor, ...] = ()
        self.versions: list[int] = []
        self.key, self.value = torch.empty(0), torch.empty(0)

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> torch.Tensor:
        context = self.text.context
        if context is None or encoder_hidden_states is None or not _is_constant(attn, context):
            return self.processor(attn, hidden_states, encoder_hidden_states, *args, **kwargs)
        made_of = (context, attn.to_k.weight, attn.to_v.weight)
        versions = [tensor._version for tensor in made_of]
        same = self.made_of and all(was is it for was, it in zip(self.made_of, made_of, strict=True))
        if not same or self.versions != versions:
            # Every entry of the batch has the same text, or as many texts were given.
            text = encoder_hidden_states[: len(context)]
            with torch.inference_mode(False), torch.no_grad():
                self.key, self.value = attn.to_k(text), attn.to_v(text)
            self.made_of, self.versions = made_of, versions
        lent = _Lent(self.processor, self.key, self.value)
        return lent(attn, hidden_states, encoder_hidden_states, *args, **kwargs)


def _is_constant(attn: Attention, context: torch.Tensor) -> bool:
    """Whether keys and values of `context` stay what they are."""
    # What was made in inference mode does not tell whether it was written to.
    return not (context.requires_grad or context.is_inference()) and all(
        # A layer of peft's that is not merged works beside its weight.
        getattr(projection, "merged", True) and not projection.weight.requires_grad
        for projection in (attn.to_k, attn.to_v)
    )


def check_attention_kernel(kernel: str) -> None:
    """Refuse a kernel that is unknown.

    Raises:
        ConfigError: with its name.
    """
    if kernel not in ATTENTION_KERNELS:
        raise ConfigError(f"model.attention: expected one of {', '.join(ATTENTION_KERNELS)}, got {kernel!r}.")


def set_attention_kernel(unet: UNet2DConditionModel, kernel: str, text: TextMemory | None = None) -> None:
    """Choose how attention is computed: `"sdpa"` is fused and fast, `"unfused"` is plain matrix products and softmax.

    The two differ by rounding only; results recorded with one are reproduced most closely with the same one.

    Args:
        unet: the UNet.
        kernel: `"sdpa"` or `"unfused"`.
        text: tells cross-attention layers what they are conditioned on; None means that they project it each time.
    """
    processor = AttnProcessor2_0() if kernel == "sdpa" else AttnProcessor()
    unet.set_attn_processor(
        {
            name: processor if text is None or ".attn2." not in name else _TextProjectedOnce(processor, text)
            for name in unet.attn_processors
        }
    )
