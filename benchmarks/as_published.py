"""Methods computed as their published programs compute them, to compare costs with: nothing merged or left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import torch
from diffusers.models.attention_processor import Attention

from benchmarks.cost import InvertedAnew
from methods import latent_drag
from rotationbench.diffusion.attention import set_attention_kernel, shared_self_attention_layers
from rotationbench.diffusion.core import StableDiffusion
from rotationbench.diffusion.grid import FeatureGrid
from rotationbench.diffusion.lora import Crops


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


class EachCropAnew(Crops):
    """Encodes every picture of every batch that a LoRA is trained on."""

    def draw(self, generator: torch.Generator) -> torch.Tensor:
        """See `Crops`."""
        self.encoded.clear()
        return super().draw(generator)


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


def pull_handles_of_a_whole_model(core: StableDiffusion, *arguments: Any, **options: Any) -> latent_drag.LatentDrag:
    """`pull_handles` with the UNet as it is loaded: nothing tells it that its weights stay as they are."""
    core.unet.requires_grad_(True)
    try:
        return _pull_handles(core, *arguments, **options)
    finally:
        core.unet.requires_grad_(False)
        core.unet.zero_grad()


def gradients_by_backward(
    core: StableDiffusion, loss: torch.Tensor, variables: Sequence[torch.Tensor]
) -> list[torch.Tensor]:
    """`StableDiffusion.gradients` with those of the weights computed and summed up too, though nobody wants them."""
    for variable in variables:
        variable.grad = None
    (loss * core.loss_scale).backward()
    return [variable.grad / core.loss_scale for variable in variables if variable.grad is not None]


def decode_both(core: StableDiffusion, latents: torch.Tensor) -> torch.Tensor:
    """`StableDiffusion.decode` beside a second picture: the program decodes the reference too and drops it."""
    return _decode(core, torch.cat([latents, latents]))[: len(latents)]


_pull_handles, _decode = latent_drag.pull_handles, StableDiffusion.decode


@contextmanager
def as_the_program_computes(core: StableDiffusion, attention: str) -> Iterator[None]:
    """Inside the block, methods compute the same with nothing merged, reused or left out.

    Pictures that a LoRA is trained on are encoded for every batch, and it works beside the weights; texts are projected
    by each pass, the UNet is evaluated to its end, features are resized for the whole grid, each drag step computes the
    weights' gradients beside the latent's, every rotated picture is inverted anew for each handle, the reference is
    decoded with the edit, and weights are in torch's default layout.

    Args:
        core: the diffusion model.
        attention: its attention kernel, as `set_attention_kernel` takes it.
    """
    processors = core.unet.attn_processors
    with ExitStack() as stack:
        for target, replacement in (
            ("rotationbench.diffusion.lora.Crops", EachCropAnew),
            ("rotationbench.diffusion.lora.lora_merged", lambda core, adapter: nullcontext()),
            ("rotationbench.diffusion.core.mutual_self_attention", mutual_self_attention_of_all),
            ("rotationbench.diffusion.core.StableDiffusion.features", features_of_the_whole_unet),
            ("rotationbench.diffusion.core.StableDiffusion.gradients", gradients_by_backward),
            ("rotationbench.diffusion.core.StableDiffusion.decode", decode_both),
            ("methods.latent_drag.pull_handles", pull_handles_of_a_whole_model),
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
