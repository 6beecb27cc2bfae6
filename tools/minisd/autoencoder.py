"""The autoencoder: a small `AutoencoderKL`, trained fully convolutionally on crops of composed pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from diffusers.models.resnet import ResnetBlock2D
from stlpips_pytorch import stlpips
from torch import nn
from torch.nn import functional

from tools.minisd.compose import ComposedPictures, to_picture
from tools.minisd.recipe import AutoencoderRecipe, Recipe
from tools.minisd.sheets import write_sheet
from tools.minisd.sprites import Sprite
from tools.minisd.training import Training, autocast, batches, generator_of, load_average

# Offsets between the seeds of the pictures of each purpose: no picture serves two of them.
TRAINING_SEED, LATENTS_SEED, SHEET_SEED = 0, 1_000_000, 2_000_000


def build_autoencoder(settings: AutoencoderRecipe, side: int) -> AutoencoderKL:
    """An untrained autoencoder for pictures of `side` pixels."""
    levels = len(settings.channels)
    model = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=tuple(settings.channels),
        layers_per_block=settings.layers_per_block,
        latent_channels=settings.latent_channels,
        norm_num_groups=settings.norm_groups,
        mid_block_add_attention=settings.mid_attention,
        sample_size=side,
    )
    _start_linear(model)
    return model


@torch.no_grad()
def _start_linear(model: AutoencoderKL) -> None:
    """Let the untrained model shrink and enlarge the picture's colours linearly; training adds the detail to that.

    Group norms take a picture's mean colour away, and a model that starts at random needs tens of thousands of
    pictures to find a way around them. So: residual branches start at zero; channels of constant ±`_OFFSET` outweigh
    the picture in the statistics of the last norm, which makes it a division by a constant; and each colour is there
    with both signs, because silu(x) − silu(−x) = x. The posterior starts narrow, so that its noise does not drown the
    mean.
    """
    for module in model.modules():
        if isinstance(module, ResnetBlock2D):
            nn.init.zeros_(module.conv2.weight)
            nn.init.zeros_(module.conv2.bias)
            if module.conv_shortcut is not None:
                nn.init.dirac_(module.conv_shortcut.weight)
                nn.init.zeros_(module.conv_shortcut.bias)
    encoder, decoder = model.encoder, model.decoder
    for block in encoder.down_blocks[:-1]:
        (shrink,) = block.downsamplers
        _set_diagonal(shrink.conv, torch.tensor([[0.25, 0.25, 0], [0.25, 0.25, 0], [0, 0, 0]]))
    for block in decoder.up_blocks[:-1]:
        (enlarge,) = block.upsamplers
        _set_diagonal(enlarge.conv, torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16)
    for part in (encoder, decoder):
        width = model.config.block_out_channels[0]
        _spread_colours(part.conv_in, width)
        _gather_colours(part.conv_norm_out, part.conv_out, width)
    latents = model.config.latent_channels
    for convolution in (model.quant_conv, model.post_quant_conv):
        nn.init.dirac_(convolution.weight)
        nn.init.zeros_(convolution.bias)
    model.quant_conv.weight[latents:] = 0
    model.quant_conv.bias[latents:] = -6.0


_OFFSET = 4.0


def _set_diagonal(convolution: nn.Conv2d, kernel: torch.Tensor) -> None:
    """Each channel through `kernel` `(3, 3)`, and a little of the random weights to break the symmetry."""
    convolution.weight *= 0.1
    channels = torch.arange(convolution.weight.shape[0])
    convolution.weight[channels, channels] = kernel
    nn.init.zeros_(convolution.bias)


def _constants(width: int) -> slice:
    """Which of the first level's `width` channels start as constants."""
    return slice(6 + (width - 6) // 2, width)


def _spread_colours(convolution: nn.Conv2d, width: int) -> None:
    """Inputs 0..2 to channels 0..2 and, negated, to 3..5; half the rest of the first `width` channels are constants."""
    convolution.weight[:6] = 0
    nn.init.zeros_(convolution.bias)
    for colour in range(3):
        convolution.weight[colour, colour, 1, 1] = 1
        convolution.weight[colour + 3, colour, 1, 1] = -1
    constants = _constants(width)
    convolution.weight[constants] = 0
    convolution.weight[width:] *= 0.1
    convolution.bias[constants] = _OFFSET
    convolution.bias[constants][::2] = -_OFFSET


def _gather_colours(norm: nn.GroupNorm, convolution: nn.Conv2d, width: int) -> None:
    """Undo the norm's division, then read colour 0..2 as silu(x) − silu(−x) from channels 0..2 and 3..5."""
    constants = _constants(width)
    share = (width - constants.start) / norm.num_channels
    nn.init.constant_(norm.weight, _OFFSET * share**0.5)
    convolution.weight *= 0.1
    convolution.weight[:3] = 0
    convolution.weight[:, constants] = 0
    nn.init.zeros_(convolution.bias)
    for colour in range(3):
        convolution.weight[colour, colour, 1, 1] = 1
        convolution.weight[colour, colour + 3, 1, 1] = -1


class PerceptualLoss(nn.Module):
    """Shift-tolerant LPIPS (Ghildyal and Liu, 2207.13686) on AlexNet, whose weights travel inside the pip package."""

    def __init__(self) -> None:
        super().__init__()
        self.network = stlpips.LPIPS(net="alex", variant="shift_tolerant", verbose=False).eval().requires_grad_(False)

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Distance per picture, `(B,)`, of pictures `(B, 3, H, W)` in [-1, 1]."""
        return self.network(first, second).flatten()


def autoencoder_loss(
    model: AutoencoderKL, perceptual: nn.Module | None, pictures: torch.Tensor, noise: torch.Tensor, recipe: Recipe
) -> torch.Tensor:
    """L1 + perceptual distance + KL divergence, each with its weight; `noise` has the latent's shape."""
    settings = recipe.autoencoder
    posterior = model.encode(pictures).latent_dist
    decoded = model.decode(posterior.mean + posterior.std * noise).sample
    loss = functional.l1_loss(decoded.float(), pictures) + settings.kl_weight * posterior.kl().mean()
    if perceptual is not None:
        loss = loss + settings.perceptual_weight * perceptual(decoded.float(), pictures).mean()
    return loss


def train_autoencoder(
    recipe: Recipe, sprites: Sequence[Sprite], run: Path, device: torch.device, minutes: float | None = None
) -> Path:
    """Train, or go on training, and return the state's file; stops after `minutes` when they are given."""
    settings = recipe.autoencoder
    torch.manual_seed(recipe.seed)
    model = build_autoencoder(settings, recipe.composition.side).to(device)
    training = Training(recipe, "autoencoder", model, run, minutes)
    perceptual = PerceptualLoss().to(device) if settings.perceptual_weight > 0 else None
    pictures = ComposedPictures(
        sprites,
        recipe.composition,
        recipe.seed + TRAINING_SEED,
        max(0, settings.steps - training.step) * settings.batch,
        first=training.step * settings.batch,
        crop=settings.crop,
    )
    cells = settings.crop // recipe.factor
    for batch, _ in batches(pictures, settings.batch, recipe.workers):
        generator = generator_of(recipe.seed, training.step)
        noise = torch.randn(len(batch), settings.latent_channels, cells, cells, generator=generator)
        with autocast(device):
            loss = autoencoder_loss(model, perceptual, batch.to(device), noise.to(device), recipe)
        training.update(loss)
        if training.step % recipe.sheet_every == 0:
            with training.averaged():
                _write_reconstructions(model, recipe, sprites, run / "sheets" / f"autoencoder-{training.step:06d}.png")
        if training.ended:
            break
    return training.state


def load_autoencoder(recipe: Recipe, run: Path, device: torch.device) -> AutoencoderKL:
    """The averaged weights of a training, ready for use.

    Raises:
        CheckpointError: when nothing has been trained yet, or a model of another shape.
    """
    model = build_autoencoder(recipe.autoencoder, recipe.composition.side)
    load_average(run / "autoencoder.pt", "autoencoder", recipe, model)
    return model.to(device)


@torch.no_grad()
def reconstruct(model: AutoencoderKL, pictures: torch.Tensor) -> torch.Tensor:
    """Pictures `(B, 3, H, W)` in [-1, 1] through the posterior's mean and back."""
    return model.decode(model.encode(pictures).latent_dist.mean).sample.clamp(-1, 1)


def _write_reconstructions(model: AutoencoderKL, recipe: Recipe, sprites: Sequence[Sprite], path: Path) -> None:
    """A sheet of eight pictures above their reconstructions."""
    dataset = ComposedPictures(sprites, recipe.composition, recipe.seed + SHEET_SEED, 8)
    pictures = torch.stack([dataset[index][0] for index in range(8)])
    decoded = reconstruct(model, pictures.to(next(model.parameters()).device))
    write_sheet(path, [to_picture(picture) for picture in [*pictures, *decoded]], columns=8)
