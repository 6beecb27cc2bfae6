"""Loading a Stable Diffusion 1.x/2.x checkpoint, whole or not at all: a hub id, a diffusers folder or a single file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, AutoencoderTiny, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from rotationbench.diffusion.architecture import AUTOENCODERS, check_architecture, default_settings
from rotationbench.diffusion.attention import self_attention_layers
from rotationbench.errors import CheckpointError

SINGLE_FILE_ENDINGS = (".safetensors", ".ckpt", ".pt", ".bin")
PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
MODULES = ("unet", "vae", "text_encoder")
SELF_ATTENTION_LAYERS = 16
NAMES_SHOWN = 3
REASON_SHOWN = 300
BYTES_AND_MARKS = 2 * 256 + 2
"""Tokens of CLIP's tokenizer that no merge makes: bytes, bytes that end a word, and the two marks around a text."""
NOT_OF_THE_MODEL = ("transformers_version", "architectures", "dtype", "torch_dtype")


@dataclass(frozen=True)
class Components:
    """The parts of a checkpoint, in evaluation mode and without gradients.

    Args:
        unet: the UNet.
        vae: the autoencoder.
        text_encoder: CLIP's text encoder.
        tokenizer: its tokenizer.
        scheduler_config: what the checkpoint says about its scheduler.
        labels: what the user calls each part, for messages; by default its name.

    Raises:
        CheckpointError: when the parts are not those of Stable Diffusion 1.x or 2.x, or do not fit each other.
    """

    unet: UNet2DConditionModel
    vae: AutoencoderKL | AutoencoderTiny
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler_config: dict[str, Any]
    labels: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_architecture(
            self.unet.config, self.vae.config, self.text_encoder.config.to_dict(), self.scheduler_config, self.labels
        )
        layers = len(self_attention_layers(self.unet))
        if layers != SELF_ATTENTION_LAYERS:
            raise CheckpointError(
                f"{self.labels.get('unet', 'unet')}: expected the {SELF_ATTENTION_LAYERS} self-attention layers of "
                f"Stable Diffusion, got {layers}."
            )

    def configuration(self) -> dict[str, Any]:
        """What decides results beside the weights: each part's settings where they differ from its class's defaults."""
        tokenizer = json.loads(self.tokenizer.backend_tokenizer.to_str())
        # Both are set by each call; the core always cuts and pads to the text encoder's length.
        del tokenizer["padding"], tokenizer["truncation"]
        text_encoder = self.text_encoder.config.to_diff_dict()
        return {
            "unet": _changed_settings(self.unet),
            "vae": _changed_settings(self.vae),
            "text_encoder": {key: value for key, value in text_encoder.items() if key not in NOT_OF_THE_MODEL},
            "tokenizer": {"model": tokenizer, "pad_token_id": self.tokenizer.pad_token_id},
            "scheduler": {key: value for key, value in self.scheduler_config.items() if not key.startswith("_")}
            | {"class": self.scheduler_config.get("_class_name")},
        }


@dataclass(frozen=True)
class _Place:
    """Where a part is read from.

    Args:
        label: what the user calls it, for messages.
        pretrained: folder or hub id.
        subfolder: the part's folder inside it; None when it is the whole.
    """

    label: str
    pretrained: str
    subfolder: str | None

    @property
    def location(self) -> dict[str, str]:
        """The keyword arguments by which libraries find the subfolder."""
        return {} if self.subfolder is None else {"subfolder": self.subfolder}


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
        CheckpointError: when something is missing, left over, not finite, or not of the expected layout; it names the
            path and the part.
    """
    path = Path(pretrained).expanduser()
    safe = None if allow_pickle else True
    with _quiet():
        autoencoder = None if vae is None else _autoencoder_place(vae)
        if path.suffix in SINGLE_FILE_ENDINGS and not path.is_dir():
            parts = _load_single_file(pretrained, path, dtype, allow_pickle, config)
            if autoencoder is not None:
                parts["vae"] = _load_autoencoder(autoencoder, _read_config("vae", autoencoder), dtype, safe)
        else:
            parts = _load_folder(pretrained, autoencoder, dtype, safe)
    labels = {part: f"{pretrained}: {part}" for part in PARTS}
    if autoencoder is not None:
        labels["vae"] = autoencoder.label
    for name in MODULES:
        module: nn.Module = parts[name]
        module.eval().requires_grad_(False)
        _check_finite(module, labels[name])
    _check_tokenizer(parts["tokenizer"], parts["text_encoder"].config.vocab_size, labels["tokenizer"])
    return Components(**parts, labels=labels)


def _load_folder(pretrained: str, autoencoder: _Place | None, dtype: torch.dtype, safe: bool | None) -> dict[str, Any]:
    folder = Path(pretrained).expanduser()
    if folder.is_dir():
        absent = [part for part in PARTS if not (folder / part).is_dir()]
        if absent:
            raise CheckpointError(
                f"{pretrained}: expected a diffusers folder with {', '.join(PARTS)}; it has no subfolder "
                f"{', '.join(absent)}."
            )
    elif pretrained.startswith((".", "/", "~")) or pretrained.count("/") != 1:
        raise CheckpointError(
            f"{pretrained}: expected a Stable Diffusion checkpoint (a diffusers folder, a single .safetensors file, or "
            "a hub id of the form owner/name); there is no such folder."
        )
    source = str(folder) if folder.is_dir() else pretrained
    places = {part: _Place(f"{pretrained}: {part}", source, part) for part in PARTS}
    if autoencoder is not None:
        places["vae"] = autoencoder
    configs = {part: _read_config(part, places[part]) for part in (*MODULES, "scheduler")}
    check_architecture(**configs, labels={part: place.label for part, place in places.items()})
    return {
        "unet": _load_module(UNet2DConditionModel, places["unet"], torch_dtype=dtype, use_safetensors=safe),
        "vae": _load_autoencoder(places["vae"], configs["vae"], dtype, safe),
        "text_encoder": _load_module(CLIPTextModel, places["text_encoder"], dtype=dtype, use_safetensors=safe),
        "tokenizer": _load_tokenizer(places["tokenizer"]),
        "scheduler_config": configs["scheduler"],
    }


def _autoencoder_place(vae: str) -> _Place:
    """Where the autoencoder is that `model.vae` names: in the subfolder `vae`, or the folder itself."""
    label = f"model.vae={vae}"
    folder = Path(vae).expanduser()
    if folder.is_dir():
        return _Place(label, str(folder), "vae" if (folder / "vae").is_dir() else None)
    if vae.startswith((".", "/", "~")) or vae.count("/") != 1:
        raise CheckpointError(
            f"{label}: expected the folder of an autoencoder or a hub id of the form owner/name; there is no such "
            "folder."
        )
    try:
        AutoencoderKL.load_config(vae, subfolder="vae")
    except OSError:
        return _Place(label, vae, None)
    return _Place(label, vae, "vae")


def _read_config(part: str, place: _Place) -> dict[str, Any]:
    with _reading(place, "a configuration"):
        if part == "text_encoder":
            config, _ = CLIPTextConfig.get_config_dict(place.pretrained, **place.location)
        else:
            reader = DDIMScheduler if part == "scheduler" else UNet2DConditionModel
            config = reader.load_config(place.pretrained, **place.location)
        # transformers makes nothing of a configuration that is not there, or not an object.
        if not isinstance(config, dict) or not config:
            raise TypeError(f"{config!r:.40}")
        return dict(config)


def _load_autoencoder(
    place: _Place, config: dict[str, Any], dtype: torch.dtype, safe: bool | None
) -> AutoencoderKL | AutoencoderTiny:
    name = config.get("_class_name")
    if name not in AUTOENCODERS:
        raise CheckpointError(f"{place.label}: expected {' or '.join(AUTOENCODERS)}, got {name}.")
    return _load_module(AUTOENCODERS[name], place, torch_dtype=dtype, use_safetensors=safe)


def _load_module(model: Any, place: _Place, **arguments: Any) -> Any:
    """A model with every tensor from its file, none made up and none left over."""
    with _reading(place, "the weights of its configuration"):
        module, found = model.from_pretrained(place.pretrained, output_loading_info=True, **place.location, **arguments)
    for key, fault in (("missing_keys", "lacks"), ("unexpected_keys", "also holds"), ("mismatched_keys", "misshapes")):
        names = sorted(str(name) for name in found[key])
        if names:
            raise CheckpointError(
                f"{place.label}: expected the tensors of its configuration, got a file that {fault} {_some(names)}."
            )
    return module


def _load_tokenizer(place: _Place) -> CLIPTokenizer:
    with _reading(place, "CLIP's tokenizer"):
        return CLIPTokenizer.from_pretrained(place.pretrained, **place.location)


def _load_single_file(
    pretrained: str, path: Path, dtype: torch.dtype, allow_pickle: bool, config: str | None
) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"{pretrained}: expected a checkpoint; there is no such file.")
    if path.suffix != ".safetensors" and not allow_pickle:
        raise CheckpointError(
            f"{pretrained}: expected a .safetensors file; this one could run code when read. Set allow_pickle to read "
            "it all the same."
        )
    with _reading(_Place(pretrained, pretrained, None), "a Stable Diffusion checkpoint in a single file"):
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


def _check_finite(module: nn.Module, label: str) -> None:
    for name, tensor in module.state_dict().items():
        # Several times faster than asking every number whether it is finite, and NaN passes through both.
        if tensor.is_floating_point() and tensor.numel() and not torch.stack(tensor.aminmax()).isfinite().all():
            raise CheckpointError(f"{label}: expected finite weights in {tensor.dtype}, got NaN or infinity in {name}.")


def _check_tokenizer(tokenizer: CLIPTokenizer, vocabulary: int, label: str) -> None:
    if len(tokenizer) != vocabulary:
        raise CheckpointError(
            f"{label}: expected the {vocabulary} tokens that the text encoder knows, got {len(tokenizer)}."
        )
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    merges = len(model["vocab"]) - BYTES_AND_MARKS
    if len(model["merges"]) < merges:
        raise CheckpointError(
            f"{label}: expected at least {merges} merges for its {len(model['vocab'])} tokens, got "
            f"{len(model['merges'])}."
        )


@contextmanager
def _reading(place: _Place, wanted: str) -> Iterator[None]:
    """Turn whatever a library makes of a file that it cannot read into one line."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())
        if len(reason) > REASON_SHOWN:
            reason = f"{reason[:REASON_SHOWN]}…"
        raise CheckpointError(f"{place.label}: expected {wanted}, got {type(error).__name__}: {reason}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the libraries' warnings of what is an error here, and the bar that diffusers shows for what it loads."""
    loggers = (diffusers.utils.logging, transformers.utils.logging)
    before = [logger.get_verbosity() for logger in loggers]
    with_bars = diffusers.utils.logging.is_progress_bar_enabled()
    diffusers.utils.logging.disable_progress_bar()
    try:
        for logger in loggers:
            logger.set_verbosity_error()
        yield
    finally:
        if with_bars:
            diffusers.utils.logging.enable_progress_bar()
        for logger, verbosity in zip(loggers, before, strict=True):
            logger.set_verbosity(verbosity)


def _some(names: Sequence[str]) -> str:
    listing = ", ".join(names[:NAMES_SHOWN])
    return listing if len(names) <= NAMES_SHOWN else f"{listing} and {len(names) - NAMES_SHOWN} more"


def _changed_settings(module: Any) -> dict[str, Any]:
    usual = default_settings(type(module))
    return {
        key: value for key, value in module.config.items() if not key.startswith("_") and value != usual.get(key)
    } | {"class": type(module).__name__}


def hash_weights(*modules: nn.Module) -> str:
    """SHA-256 over names, shapes, types and bytes of all parameters and buffers of `modules`."""
    digest = hashlib.sha256()
    for module in modules:
        _update(digest, module.state_dict())
    return digest.hexdigest()


def hash_tensors(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names, shapes, types and bytes of tensors, in the order of their names."""
    digest = hashlib.sha256()
    _update(digest, tensors)
    return digest.hexdigest()


def hash_model(weights_hash: str, configuration: Mapping[str, Any]) -> str:
    """SHA-256 over all of a checkpoint that decides results: its weights and `Components.configuration`."""
    return hashlib.sha256(json.dumps([weights_hash, configuration], sort_keys=True).encode()).hexdigest()


def _update(digest: Any, tensors: Mapping[str, torch.Tensor]) -> None:
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
