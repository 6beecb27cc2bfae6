"""Methods computed as their published programs compute them, to compare costs with: nothing merged or left out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import torch
from diffusers.models.attention_processor import Attention

from benchmarks.cost import InvertedAnew
from rotationbench.diffusion.attention import set_attention_kernel, shared_self_attention_layers
from rotationbench.diffusion.core import StableDiffusion
from rotationbench.diffusion.grid import FeatureGrid


class WholeGrid(FeatureGrid):
    """All cells of the supervision grid, resized whether they are looked at or not."""

    def __init__(self, features: torch.Tensor, image_size: tuple[int, int]) -> None:
        super().__init__(features, image_size)
        self.cells = self.whole()

    def detach(self) -> WholeGrid:
        """The same without gradients."""
        other = object.__new__(WholeGrid)
        other.__dict__.update(self.__dict__, cells=self.cells.detach())
        return other

    def window(self, rows: range, cols: range) -> torch.Tensor:
        """See `FeatureGrid.window`."""
        return self.cells[:, :, rows.start : rows.stop, cols.start : cols.stop]


class _KeysAndValuesForEach:
    """Mutual self-attention that projects the first entry's states once for every entry of the batch."""

    def __init__(self, processor: Any) -> None:
        self.processor = processor

    def __call__(self, attn: Attention, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        return self.processor(attn, hidden_states, hidden_states[:1].expand_as(hidden_states))


@contextmanager
def mutual_self_attention_of_all(unet: Any) -> Iterator[None]:
    """`mutual_self_attention` with keys and values computed for every entry of the batch."""
    layers = shared_self_attention_layers(unet)
    before = [layer.processor for layer in layers]
    for layer in layers:
        layer.processor = _KeysAndValuesForEach(layer.processor)
    try:
        yield
    finally:
        for layer, processor in zip(layers, before, strict=True):
            layer.processor = processor


def features_of_the_whole_unet(core: StableDiffusion, *arguments: Any) -> torch.Tensor:
    """`StableDiffusion.features` with the blocks behind the features evaluated too."""
    return core.noise_and_features(*arguments)[1]


@contextmanager
def as_the_program_computes(core: StableDiffusion, attention: str) -> Iterator[None]:
    """Inside the block, methods compute the same with nothing merged, reused or left out.

    A LoRA works beside the weights, texts are projected by each pass, the UNet is evaluated to its end, features are
    resized for the whole grid, every rotated picture is inverted anew for each handle, and weights are in torch's
    default layout.

    Args:
        core: the diffusion model.
        attention: its attention kernel, as `set_attention_kernel` takes it.
    """
    processors = core.unet.attn_processors
    with ExitStack() as stack:
        for target, replacement in (
            ("rotationbench.diffusion.lora.lora_merged", lambda core, adapter: nullcontext()),
            ("rotationbench.diffusion.core.mutual_self_attention", mutual_self_attention_of_all),
            ("rotationbench.diffusion.core.StableDiffusion.features", features_of_the_whole_unet),
            ("methods.latent_drag.FeatureGrid", WholeGrid),
            ("methods.rotationdrag.FeatureGrid", WholeGrid),
            ("methods.rotationdrag.RotatedReferences", InvertedAnew),
        ):
            stack.enter_context(patch(target, replacement))
        set_attention_kernel(core.unet, attention)
        layout = torch.channels_last if core.device.type == "cuda" else torch.contiguous_format
        core.unet.to(memory_format=torch.contiguous_format)
        try:
            yield
        finally:
            core.unet.set_attn_processor(processors)
            core.unet.to(memory_format=layout)
