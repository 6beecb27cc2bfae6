"""LoRA for identity preservation: a few low-rank weights, trained on the one picture that is to be edited."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from filelock import FileLock
from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from rotationbench.diffusion.cost import PhaseCost
from rotationbench.diffusion.ddim import draw_noise
from rotationbench.errors import ConfigError
from rotationbench.files import whole_file

if TYPE_CHECKING:
    from rotationbench.diffusion.core import StableDiffusion

log = logging.getLogger(__name__)

ADAPTER = "identity"
TARGET_MODULES = ["to_q", "to_k", "to_v", "to_out.0"]
CODE_VERSION = 1
"""Part of the key of a LoRA on disk: raised when the training here changes its results."""


@dataclass(frozen=True)
class LoraSettings:
    """How a LoRA is trained (DragDiffusion, arXiv 2306.14435, section 3.2, and its released program).

    Args:
        rank: rank of the update; its α is the same number, so that the update is used as it is.
        lr: learning rate of AdamW.
        steps: training steps.
        batch_size: noised copies of the picture per step.
        weight_decay: of AdamW.
        crop: `"square"`, a random square of the short side, or `"full"`, the whole frame.

    Raises:
        ConfigError: when a value lies outside its range.
    """

    rank: int = 16
    lr: float = 5e-4
    steps: int = 80
    batch_size: int = 4
    weight_decay: float = 1e-2
    crop: str = "square"

    def __post_init__(self) -> None:
        for name in ("rank", "steps", "batch_size", "lr"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"lora.{name}: expected a positive number, got {getattr(self, name)}.")
        if self.crop not in ("square", "full"):
            raise ConfigError(f"lora.crop: expected square or full, got {self.crop!r}.")


@contextmanager
def lora_attached(
    core: StableDiffusion, image: torch.Tensor, prompt: str, settings: LoraSettings, seed: int
) -> Iterator[str]:
    """Inside the block, the UNet carries the LoRA of this picture; afterwards it is the plain UNet again.

    The LoRA is read from the core's cache folder when one was trained for the same picture, prompt, weights,
    settings and seed, and trained otherwise. Either way its training is charged to the phase `lora`.

    Args:
        core: the core, without a LoRA.
        image: `(1, 3, H, W)` in [-1, 1].
        prompt: the text the LoRA is trained with.
        settings: how it is trained.
        seed: seed of its weights, noise and crops.

    Yields:
        The key that names the LoRA's content.
    """
    key = lora_key(core, image, prompt, settings, seed)
    file = None if core.cache_dir is None else core.cache_dir / "lora" / f"{key}.safetensors"
    _attach(core, settings, seed)
    try:
        if file is None:
            core.cost.charge("lora", _train(core, image, prompt, settings, seed))
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(file.with_suffix(".lock")):
                cost = _read(core, file)
                if cost is None:
                    cost = _train(core, image, prompt, settings, seed)
                    _write(core, file, settings, cost)
            core.cost.charge("lora", cost)
        yield key
    finally:
        core.unet.unload_lora()


def lora_key(core: StableDiffusion, image: torch.Tensor, prompt: str, settings: LoraSettings, seed: int) -> str:
    """SHA-256 of all that decides a LoRA: picture, prompt, weights, number type, settings, seed, code version."""
    description = {
        "code": CODE_VERSION,
        "weights": core.weights_hash,
        "dtype": str(core.dtype),
        "prompt": prompt,
        "settings": asdict(settings),
        "seed": seed,
        "image_shape": list(image.shape),
    }
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    digest.update(image.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def _attach(core: StableDiffusion, settings: LoraSettings, seed: int) -> None:
    # "gaussian" draws A from N(0, 1/rank) and sets B to 0.
    config = LoraConfig(
        r=settings.rank, lora_alpha=settings.rank, init_lora_weights="gaussian", target_modules=TARGET_MODULES
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        core.unet.add_adapter(config, adapter_name=ADAPTER)
    for parameter in _lora_parameters(core):
        # The optimiser needs full precision, whatever the UNet computes in.
        parameter.data = parameter.data.to(core.latent_dtype)
        parameter.requires_grad_(False)


def _lora_parameters(core: StableDiffusion) -> list[torch.nn.Parameter]:
    return [parameter for name, parameter in core.unet.named_parameters() if "lora_" in name]


def _train(core: StableDiffusion, image: torch.Tensor, prompt: str, settings: LoraSettings, seed: int) -> PhaseCost:
    """Minimise the noise-prediction error on the picture at uniform timesteps; returns what that cost."""
    before = core.cost.snapshot("lora")
    with core.cost.phase("lora", core.device):
        generator = torch.Generator().manual_seed(seed)
        parameters = _lora_parameters(core)
        for parameter in parameters:
            parameter.requires_grad_(True)
        optimizer = torch.optim.AdamW(parameters, lr=settings.lr, weight_decay=settings.weight_decay)
        scaler = torch.amp.GradScaler(core.device.type, enabled=core.dtype == torch.float16)
        crops = _Crops(core, image, settings.crop)
        context = core.embed(prompt)
        for _ in tqdm(range(settings.steps), desc="LoRA", leave=False, disable=None):
            latents = torch.cat([crops.draw(generator) for _ in range(settings.batch_size)])
            noise = draw_noise(latents.shape, generator, latents)
            timesteps = torch.randint(0, len(core.alphas), (settings.batch_size,), generator=generator).to(core.device)
            alphas = core.alphas[timesteps].view(-1, 1, 1, 1)
            noised = alphas.sqrt() * latents + (1 - alphas).sqrt() * noise
            loss = F.mse_loss(core.noise(noised, timesteps, context), noise)
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        for parameter in parameters:
            parameter.requires_grad_(False)
            parameter.grad = None
    cost = core.cost.snapshot("lora").minus(before)
    # The caller charges the cost, so that a trained LoRA and one from the cache are booked in one place.
    core.cost.phases["lora"] = before
    return cost


class _Crops:
    """Latents of the picture, encoded once per distinct crop.

    The squares start on whole cells of the latent, so that a long picture has few of them and each is encoded once.
    """

    def __init__(self, core: StableDiffusion, image: torch.Tensor, crop: str) -> None:
        self.core, self.image = core, image
        height, width = image.shape[2:]
        side = min(height, width)
        self.shape = (side, side) if crop == "square" else (height, width)
        self.places = [
            (extent - kept) // core.vae_factor for extent, kept in zip((height, width), self.shape, strict=True)
        ]
        self.encoded: dict[tuple[int, ...], torch.Tensor] = {}

    def draw(self, generator: torch.Generator) -> torch.Tensor:
        corner = tuple(int(torch.randint(0, places + 1, (), generator=generator)) for places in self.places)
        if corner not in self.encoded:
            top, left = (cell * self.core.vae_factor for cell in corner)
            height, width = self.shape
            self.encoded[corner] = self.core.encode(self.image[:, :, top : top + height, left : left + width])
        return self.encoded[corner]


def _read(core: StableDiffusion, file: Path) -> PhaseCost | None:
    if not file.exists():
        return None
    try:
        with safe_open(file, framework="pt") as handle:
            cost = PhaseCost(**json.loads(handle.metadata()["cost"]))
        set_peft_model_state_dict(core.unet, load_file(file), adapter_name=ADAPTER)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        log.warning("%s: expected a LoRA, got %s. It is trained again.", file, error)
        return None
    return cost


def _write(core: StableDiffusion, file: Path, settings: LoraSettings, cost: PhaseCost) -> None:
    weights = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in get_peft_model_state_dict(core.unet, adapter_name=ADAPTER).items()
    }
    metadata = {"cost": json.dumps(asdict(cost)), "settings": json.dumps(asdict(settings))}
    with whole_file(file) as temporary:
        save_file(weights, temporary, metadata)
