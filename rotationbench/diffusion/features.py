"""Reading features out of the UNet's blocks, and stopping there when nothing else is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from diffusers import UNet2DConditionModel
from torch import nn


class _Reached(Exception):  # noqa: N818 - a signal, not an error
    """Ends a forward pass at the block whose features are wanted."""


def feature_block(unet: UNet2DConditionModel, index: int) -> nn.Module:
    """The block behind a feature index: 0 is the mid block, 1 to 4 the up blocks.

    Raises:
        ValueError: when the UNet has no such block.
    """
    if not 0 <= index <= len(unet.up_blocks):
        raise ValueError(f"Expected a feature index from 0 to {len(unet.up_blocks)}, got {index}.")
    return unet.mid_block if index == 0 else unet.up_blocks[index - 1]


class Captured:
    """Holds the features `(B, C, h, w)` that a forward pass left, once it has passed the block."""

    def __init__(self) -> None:
        self.value: torch.Tensor | None = None

    def take(self) -> torch.Tensor:
        """The features; they are given away, so that a second look cannot see a stale pass."""
        value, self.value = self.value, None
        if value is None:
            raise RuntimeError("The UNet was not evaluated since the features were taken last.")
        return value


@contextmanager
def capture_features(unet: UNet2DConditionModel, index: int, *, stop: bool) -> Iterator[Captured]:
    """Capture the output of a feature block during the block of code.

    Args:
        unet: the UNet; its forward stays as it is, a hook on one block is added and removed.
        index: 0 is the mid block, 1 to 4 the up blocks.
        stop: end the forward pass at that block; the evaluation inside the `with` block then returns nothing, and
            the statements after it inside the block are not run.
    """
    captured = Captured()

    def hook(module: nn.Module, inputs: object, output: torch.Tensor | tuple[torch.Tensor, ...]) -> None:
        captured.value = output[0] if isinstance(output, tuple) else output
        if stop:
            raise _Reached

    handle = feature_block(unet, index).register_forward_hook(hook)
    try:
        yield captured
    except _Reached:
        pass
    finally:
        handle.remove()


class _Answer(nn.Module):
    """Stands in for the mid block and answers the same whatever comes."""

    has_cross_attention = True

    def __init__(self, bottleneck: torch.Tensor) -> None:
        super().__init__()
        self.bottleneck = bottleneck

    def forward(self, hidden_states: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
        return self.bottleneck.to(hidden_states.dtype).expand(len(hidden_states), -1, -1, -1)


class _Remembering(nn.Module):
    """Stands in for a down block and answers every time what the block answered first."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block
        self.has_cross_attention = getattr(block, "has_cross_attention", False)
        self.answer: object = None

    def forward(self, *args: object, **kwargs: object) -> object:
        if self.answer is None:
            with torch.no_grad():
                self.answer = self.block(*args, **kwargs)
        return self.answer


@contextmanager
def bottleneck_in_place(unet: UNet2DConditionModel, bottleneck: torch.Tensor) -> Iterator[None]:
    """Inside the block of code, `bottleneck` stands in place of what the mid block would put out.

    Args:
        unet: the UNet.
        bottleneck: `(1, C, h, w)`, of the mid block's shape; gradients reach it through the up blocks.
    """
    mid_block = unet.mid_block
    unet.mid_block = _Answer(bottleneck)
    try:
        yield
    finally:
        unet.mid_block = mid_block


@contextmanager
def down_blocks_remembered(unet: UNet2DConditionModel) -> Iterator[None]:
    """Inside the block of code, the down blocks are evaluated once; only the blocks behind them work each time.

    For evaluations that share latent, timestep and text, and differ in the bottleneck.
    """
    blocks = list(unet.down_blocks)
    for index, block in enumerate(blocks):
        unet.down_blocks[index] = _Remembering(block)
    try:
        yield
    finally:
        for index, block in enumerate(blocks):
            unet.down_blocks[index] = block
