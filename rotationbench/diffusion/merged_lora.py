"""A LoRA as part of the weights: for as long as it is not trained, nothing need be computed beside them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import torch
from diffusers import UNet2DConditionModel
from peft.tuners.lora import Linear as LoraLinear
from torch import nn

if TYPE_CHECKING:
    from rotationbench.diffusion.core import StableDiffusion


class MergedLora:
    """The UNet's attention with weights W + s·B·A in place of W, and the way back to W itself.

    Args:
        unet: carries the LoRA, not merged.
        adapter: its name.
    """

    def __init__(self, unet: UNet2DConditionModel, adapter: str) -> None:
        self.adapter = adapter
        self._layers = [module for module in unet.modules() if isinstance(module, LoraLinear)]
        self._own = [cast(nn.Parameter, layer.weight) for layer in self._layers]

    @torch.no_grad()
    def merge(self) -> None:
        """Set the weights to the sums, at the LoRA's present scale."""
        for layer, own in zip(self._layers, self._own, strict=True):
            # The sum is rounded once, to the weights' number type.
            merged = (layer.get_delta_weight(self.adapter) + own).to(own.dtype)
            layer.get_base_layer().weight = nn.Parameter(merged, requires_grad=False)
            layer.merged_adapters[:] = [self.adapter]

    def unmerge(self) -> None:
        """Set the weights to the UNet's own, the very tensors that they were."""
        for layer, own in zip(self._layers, self._own, strict=True):
            layer.get_base_layer().weight = own
            layer.merged_adapters.clear()


@contextmanager
def lora_merged(core: StableDiffusion, adapter: str) -> Iterator[None]:
    """Inside the block, a LoRA that the UNet carries is part of its weights; afterwards, they are what they were."""
    core.merged_lora = MergedLora(core.unet, adapter)
    try:
        core.merged_lora.merge()
        yield
    finally:
        core.merged_lora.unmerge()
        core.merged_lora = None


@contextmanager
def lora_apart(core: StableDiffusion) -> Iterator[None]:
    """Inside the block, a LoRA that is part of the UNet's weights works beside them, so that another may be added."""
    merged, core.merged_lora = core.merged_lora, None
    if merged is None:
        yield
        return
    merged.unmerge()
    try:
        yield
    finally:
        merged.merge()
        core.merged_lora = merged
