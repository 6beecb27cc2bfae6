"""A LoRA that is itself what is optimised, with the UNet as it was before still within reach."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig

from rotationbench.diffusion.ddim import draw_noise
from rotationbench.diffusion.lora import TARGET_MODULES
from rotationbench.diffusion.merged_lora import lora_apart

if TYPE_CHECKING:
    from rotationbench.diffusion.core import StableDiffusion

ADAPTER = "drag"


class TrainableLora:
    """The low-rank weights on the UNet's attention, and the way back to the UNet without them.

    Args:
        unet: carries the LoRA `ADAPTER`, active.
        before: the adapters that were active before.

    Attributes:
        parameters: A `(rank, in)` and B `(out, rank)` of every projection in turn. Attentions are in the order in which
            diffusers lists them: down blocks, up blocks, mid block; projections in the order query, key, value, output.
    """

    def __init__(self, unet: UNet2DConditionModel, before: list[str]) -> None:
        self.unet, self.before = unet, before
        self.parameters = [weight for projection in _projections(unet) for weight in _weights(projection, ADAPTER)]

    @contextmanager
    def set_aside(self) -> Iterator[None]:
        """Inside the block, the UNet is what it was before the LoRA; gradients of earlier passes are not lost."""
        self.unet.set_adapter(self.before)
        try:
            yield
        finally:
            self.unet.set_adapter(ADAPTER)


@contextmanager
def trainable_lora(core: StableDiffusion, rank: int, generator: torch.Generator) -> Iterator[TrainableLora]:
    """Inside the block, the UNet carries a LoRA that may be optimised; afterwards it is what it was before.

    The LoRA begins as a copy of the one that the UNet carries. Without one, A is drawn from N(0, 1/rank²) and B is 0.
    Either way the UNet begins by computing what it computed before, to rounding.

    Args:
        core: the core, with one LoRA or none.
        rank: of the LoRA when there is none to copy; its α is the same number.
        generator: source of A, in the order of `TrainableLora.parameters`.
    """
    with lora_apart(core), _added_lora(core, rank, generator) as lora:
        yield lora


@contextmanager
def _added_lora(core: StableDiffusion, rank: int, generator: torch.Generator) -> Iterator[TrainableLora]:
    unet = core.unet
    configs = getattr(unet, "peft_config", {})
    before = list(unet.active_adapters()) if configs else []
    if before:
        config = deepcopy(configs[before[0]])
    else:
        config = LoraConfig(r=rank, lora_alpha=rank, target_modules=TARGET_MODULES)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # Several adapters on one UNet are meant.
        warnings.filterwarnings("ignore", message="Already found a `peft_config` attribute")
        unet.add_adapter(config, adapter_name=ADAPTER)
    try:
        for projection in _projections(unet):
            for parameter in _weights(projection, ADAPTER):
                # The optimiser needs full precision, whatever the UNet computes in.
                parameter.data = parameter.data.to(core.latent_dtype)
            first, second = _weights(projection, ADAPTER)
            if before:
                for parameter, value in zip((first, second), _weights(projection, before[0]), strict=True):
                    parameter.data.copy_(value.data)
            else:
                first.data = draw_noise(first.shape, generator, first) / config.r
                second.data.zero_()
        yield TrainableLora(unet, before)
    finally:
        if before:
            unet.set_adapter(before)
            unet.delete_adapters(ADAPTER)
            for name, parameter in unet.named_parameters():
                if "lora_" in name:
                    parameter.requires_grad_(False)
        else:
            unet.unload_lora()


def _projections(unet: UNet2DConditionModel) -> list[torch.nn.Module]:
    attentions = [unet.get_submodule(name.removesuffix(".processor")) for name in unet.attn_processors]
    return [
        projection
        for attention in attentions
        for projection in (attention.to_q, attention.to_k, attention.to_v, attention.to_out[0])
    ]


def _weights(projection: Any, adapter: str) -> tuple[torch.nn.Parameter, torch.nn.Parameter]:
    """A and B of one projection."""
    return projection.lora_A[adapter].weight, projection.lora_B[adapter].weight
