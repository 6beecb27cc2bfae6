"""What makes a checkpoint one of Stable Diffusion 1.x/2.x that the core can use: told from its configurations alone."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from typing import Any

from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from transformers import CLIPTextConfig

from rotationbench.errors import CheckpointError

Fault = tuple[str, str]
"""The part that is at fault, and what was expected of it and came."""

UNETS = {"UNet2DConditionModel": UNet2DConditionModel}
AUTOENCODERS = {"AutoencoderKL": AutoencoderKL, "AutoencoderTiny": AutoencoderTiny}
PREDICTION_TYPES = ("epsilon", "v_prediction")
BLOCKS = 4
"""Down blocks and up blocks of Stable Diffusion's UNet; feature indices and shared attention layers count on them."""

UNCONDITIONAL = {
    "class_embed_type": None,
    "num_class_embeds": None,
    "addition_embed_type": None,
    "encoder_hid_dim": None,
    "encoder_hid_dim_type": None,
    "time_embedding_type": "positional",
}
"""Settings of a UNet that takes a latent, a timestep and a text embedding, and nothing else."""

NOISE_SCHEDULE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "trained_betas": None,
    "rescale_betas_zero_snr": False,
    "use_flow_sigmas": False,
}
"""What Stable Diffusion was trained with. Absent keys mean diffusers' defaults, which differ for the first three."""

SAMPLER = {
    "clip_sample": False,
    "thresholding": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
"""How the core samples; a checkpoint may say nothing about it, but not something else."""

SPACINGS = ("leading", "linspace")
"""The core's own steps are leading; methods with the sampler of the checkpoint take its spacing."""


def check_architecture(
    unet: Mapping[str, Any],
    vae: Mapping[str, Any],
    text_encoder: Mapping[str, Any],
    scheduler: Mapping[str, Any],
    labels: Mapping[str, str] | None = None,
) -> None:
    """Refuse parts that are not those of Stable Diffusion 1.x or 2.x, or do not fit each other.

    The number of latent channels is free, as long as autoencoder and UNet agree on it.

    Args:
        unet: configuration of the UNet.
        vae: configuration of the autoencoder.
        text_encoder: configuration of the text encoder.
        scheduler: configuration of the scheduler.
        labels: what the user calls each part; None means the part's name.

    Raises:
        CheckpointError: with the first fault, blamed on a part.
    """
    for part, fault in _faults(unet, vae, text_encoder, scheduler):
        raise CheckpointError(f"{(labels or {}).get(part, part)}: {fault}.")


def _faults(
    unet: Mapping[str, Any], vae: Mapping[str, Any], text_encoder: Mapping[str, Any], scheduler: Mapping[str, Any]
) -> Iterator[Fault]:
    """Faults of single parts, then those between parts, which are only told of parts that are right in themselves."""
    for part, class_names, config in (("unet", UNETS, unet), ("vae", AUTOENCODERS, vae)):
        name = config.get("_class_name")
        if name not in class_names:
            yield part, f"expected {' or '.join(class_names)}, got {name}"
    unet = default_settings(UNet2DConditionModel) | dict(unet)
    vae = default_settings(AUTOENCODERS[vae["_class_name"]]) | dict(vae)
    text_encoder = CLIPTextConfig().to_dict() | dict(text_encoder)
    yield from _unet_faults(unet)
    yield from _vae_faults(vae)
    yield from _scheduler_faults(scheduler)
    yield from _misfits(unet, vae, text_encoder)


def _unet_faults(unet: Mapping[str, Any]) -> Iterator[Fault]:
    for key, wanted in UNCONDITIONAL.items():
        if unet[key] != wanted:
            yield "unet", f"expected {key} {wanted}, as Stable Diffusion 1.x and 2.x have it, got {unet[key]!r}"
    for key in ("down_block_types", "up_block_types"):
        if not isinstance(unet[key], list | tuple) or len(unet[key]) != BLOCKS:
            yield "unet", f"expected {key} with {BLOCKS} blocks, got {unet[key]!r}"
    if unet["mid_block_type"] is None:
        yield "unet", "expected a mid block, got mid_block_type None"
    if unet["in_channels"] != unet["out_channels"]:
        yield (
            "unet",
            f"expected as many channels in as out, got in_channels {unet['in_channels']!r} and out_channels "
            f"{unet['out_channels']!r}: models for inpainting and the like take more than a latent",
        )


def _vae_faults(vae: Mapping[str, Any]) -> Iterator[Fault]:
    for key in ("in_channels", "out_channels"):
        if vae[key] != 3:
            yield "vae", f"expected {key} 3, got {vae[key]!r}"
    scale = vae["scaling_factor"]
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale < math.inf:
        yield "vae", f"expected a positive scaling_factor, got {scale!r}"
    for key in ("shift_factor", "latents_mean", "latents_std"):
        if vae.get(key):
            yield "vae", f"expected latents that are scaled by scaling_factor alone, got {key} {vae[key]!r}"


def _scheduler_faults(scheduler: Mapping[str, Any]) -> Iterator[Fault]:
    absent_is_fine = NOISE_SCHEDULE.keys() - {"beta_start", "beta_end", "beta_schedule"}
    for key, wanted in (NOISE_SCHEDULE | SAMPLER).items():
        stated = scheduler.get(key, wanted if key in absent_is_fine | SAMPLER.keys() else None)
        if stated != wanted:
            yield "scheduler", f"expected {key} {wanted}, got {stated!r}"
    prediction_type = scheduler.get("prediction_type", "epsilon")
    if prediction_type not in PREDICTION_TYPES:
        yield "scheduler", f"expected prediction_type {' or '.join(PREDICTION_TYPES)}, got {prediction_type!r}"
    spacing = scheduler.get("timestep_spacing", "leading")
    if spacing not in SPACINGS:
        yield "scheduler", f"expected timestep_spacing {' or '.join(SPACINGS)}, got {spacing!r}"


def _misfits(unet: Mapping[str, Any], vae: Mapping[str, Any], text_encoder: Mapping[str, Any]) -> Iterator[Fault]:
    if vae["latent_channels"] != unet["in_channels"]:
        yield (
            "vae",
            f"expected {unet['in_channels']!r} latent channels, as the UNet takes, got {vae['latent_channels']!r}",
        )
    widths = unet["cross_attention_dim"]
    for width in widths if isinstance(widths, list | tuple) else [widths]:
        if width != text_encoder["hidden_size"]:
            yield (
                "unet",
                f"expected cross_attention_dim {text_encoder['hidden_size']!r}, the width of the text encoder, "
                f"got {width!r}",
            )
            return


def default_settings(model: type) -> dict[str, Any]:
    """The defaults of a diffusers model's settings by name."""
    parameters = inspect.signature(model.__init__).parameters.values()  # type: ignore[misc]
    return {item.name: item.default for item in parameters if item.default is not inspect.Parameter.empty}
