"""Loading a Stable Diffusion 1.x/2.x checkpoint: a hub id, a diffusers folder or a single file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from rotationbench.errors import CheckpointError

SINGLE_FILE_ENDINGS = (".safetensors", ".ckpt", ".pt", ".bin")
PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
AUTOENCODERS = {"AutoencoderKL": AutoencoderKL, "AutoencoderTiny": AutoencoderTiny}


@dataclass(frozen=True)
class Components:
    """The parts of a checkpoint, in evaluation mode and without gradients."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL | AutoencoderTiny
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler_config: dict[str, Any]


def load_components(
    pretrained: str, *, vae: str | None, dtype: torch.dtype, allow_pickle: bool = False, config: str | None = None
) -> Components:
    """Load a checkpoint's parts on the CPU.

    Args:
        pretrained: a folder in diffusers layout, a single file, or a hub id.
        vae: a folder or hub id whose autoencoder replaces the checkpoint's own; also one with the autoencoder in a
            subfolder `vae`.
        dtype: floating-point type of the weights.
        allow_pickle: also read weights that are not safetensors. Such files can run code: only for files you trust.
        config: for a single file, a diffusers folder or hub id that describes the architecture; by default diffusers
            recognises it and asks the hub.

    Raises:
        CheckpointError: when something is missing or not of the expected layout; it names the path.
    """
    path = Path(pretrained).expanduser()
    try:
        if path.suffix in SINGLE_FILE_ENDINGS and not path.is_dir():
            parts = _load_single_file(path, dtype, allow_pickle, config)
        else:
            parts = _load_folder(str(path) if path.is_dir() else pretrained, dtype, allow_pickle)
        if vae is not None:
            parts["vae"] = _load_autoencoder(vae, dtype, allow_pickle)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise CheckpointError(
            f"{pretrained}: expected a Stable Diffusion checkpoint (a diffusers folder with {', '.join(PARTS)}, a hub "
            f"id that this machine can reach, or a single .safetensors file); got: {error}"
        ) from error
    for name in ("unet", "vae", "text_encoder"):
        module: nn.Module = parts[name]
        module.eval().requires_grad_(False)
    return Components(**parts)


def _load_folder(pretrained: str, dtype: torch.dtype, allow_pickle: bool) -> dict[str, Any]:
    folder = Path(pretrained)
    if folder.is_dir():
        absent = [part for part in PARTS if not (folder / part).is_dir()]
        if absent:
            raise OSError(f"the folder has no subfolder {', '.join(absent)}")
    elif pretrained.startswith((".", "/", "~")) or pretrained.count("/") != 1:
        raise OSError("there is no such folder, and a hub id has the form owner/name")
    safe = None if allow_pickle else True
    return {
        "unet": UNet2DConditionModel.from_pretrained(
            pretrained, subfolder="unet", torch_dtype=dtype, use_safetensors=safe
        ),
        "vae": _load_autoencoder(pretrained, dtype, allow_pickle),
        "text_encoder": CLIPTextModel.from_pretrained(
            pretrained, subfolder="text_encoder", dtype=dtype, use_safetensors=safe
        ),
        "tokenizer": CLIPTokenizer.from_pretrained(pretrained, subfolder="tokenizer"),
        "scheduler_config": dict(DDIMScheduler.load_config(pretrained, subfolder="scheduler")),
    }


def _load_autoencoder(pretrained: str, dtype: torch.dtype, allow_pickle: bool) -> AutoencoderKL | AutoencoderTiny:
    folder = Path(pretrained).expanduser()
    location: dict[str, Any] = {"subfolder": "vae"}
    if folder.is_dir():
        pretrained = str(folder)
        if not (folder / "vae").is_dir():
            location = {}
        config_file = folder / location.get("subfolder", "") / "config.json"
        class_name = json.loads(config_file.read_text(encoding="utf-8")).get("_class_name")
    else:
        try:
            class_name = AutoencoderKL.load_config(pretrained, **location).get("_class_name")
        except OSError:
            location = {}
            class_name = AutoencoderKL.load_config(pretrained).get("_class_name")
    if class_name not in AUTOENCODERS:
        raise ValueError(f"the autoencoder is a {class_name}, expected one of {', '.join(AUTOENCODERS)}")
    safe = None if allow_pickle else True
    return AUTOENCODERS[class_name].from_pretrained(pretrained, torch_dtype=dtype, use_safetensors=safe, **location)


def _load_single_file(path: Path, dtype: torch.dtype, allow_pickle: bool, config: str | None) -> dict[str, Any]:
    if not path.is_file():
        raise OSError("there is no such file")
    if path.suffix != ".safetensors" and not allow_pickle:
        raise OSError("the file is no .safetensors file and could run code when read; set allow_pickle to read it")
    pipeline = StableDiffusionPipeline.from_single_file(
        str(path), torch_dtype=dtype, config=config, safety_checker=None, requires_safety_checker=False
    )
    return {
        "unet": pipeline.unet,
        "vae": pipeline.vae,
        "text_encoder": pipeline.text_encoder,
        "tokenizer": pipeline.tokenizer,
        "scheduler_config": dict(pipeline.scheduler.config),
    }


def hash_weights(*modules: nn.Module) -> str:
    """SHA-256 over names, shapes, types and bytes of all parameters and buffers of `modules`."""
    digest = hashlib.sha256()
    for module in modules:
        for name, tensor in sorted(module.state_dict().items()):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
