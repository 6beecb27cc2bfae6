"""LoRA for identity preservation: a few low-rank weights, trained on the one picture that is to be edited."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from tqdm import tqdm

from rotationbench.diffusion.core import StableDiffusion
from rotationbench.diffusion.cost import PhaseCost
from rotationbench.diffusion.ddim import draw_noise
from rotationbench.diffusion.limits import LORA_FOLDER
from rotationbench.diffusion.loading import hash_tensors
from rotationbench.diffusion.merged_lora import lora_merged
from rotationbench.files import whole_file
from rotationbench.locks import shared_lock
from rotationbench.settings import check_between, check_choice, check_not_negative, check_positive

log = logging.getLogger(__name__)

ADAPTER = "identity"
TARGET_MODULES = ["to_q", "to_k", "to_v", "to_out.0"]
CODE_VERSION = 2
"""Part of the key of a LoRA on disk: raised when the training here, or the file's layout, changes."""
LARGEST_RANK = 1280
"""The widest projection of Stable Diffusion's attention: a higher rank adds nothing."""


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
        check_positive(self, "steps", "batch_size", "lr", section="lora")
        check_between(self, 1, LARGEST_RANK, "rank", section="lora")
        check_not_negative(self, "weight_decay", section="lora")
        check_choice(self, ("square", "full"), "crop", section="lora")


@contextmanager
def attached_lora(
    core: StableDiffusion, image: torch.Tensor, prompt: str, settings: LoraSettings | None, seed: int
) -> Iterator[None]:
    """Inside the block, the UNet carries the LoRA of this picture, merged; afterwards it is the plain UNet again.

    The LoRA is read from the core's cache folder when one was trained for the same picture, prompt, model, settings
    and seed, and trained otherwise. Either way its training is charged to the phase `lora`.

    Args:
        core: the core, without a LoRA.
        image: `(1, 3, H, W)` in [-1, 1].
        prompt: the text the LoRA is trained with.
        settings: how it is trained; None means no LoRA.
        seed: seed of its weights, noise and crops.

    Raises:
        NonFiniteError: when the training left the finite numbers; nothing is kept of it.
    """
    if settings is None:
        yield
        return
    key = lora_key(core, image, prompt, settings, seed)
    before = core.cost.snapshot("lora")
    try:
        with core.cost.phase("lora", core.device):
            _attach(core, settings, seed)
            cost = _trained(core, image, prompt, settings, seed, key)
        # What is booked is the training alone, wherever the LoRA came from: a cache must not make an edit cheaper.
        core.cost.phases["lora"] = before
        core.cost.charge("lora", cost)
        core.adapter_key = key
        with lora_merged(core, ADAPTER):
            yield
    finally:
        core.adapter_key = None
        core.unet.unload_lora()


def scale_lora(core: StableDiffusion, scale: float) -> None:
    """Weigh the attached LoRA by `scale`; without one, nothing happens."""
    if core.adapter_key is not None:
        core.unet.set_adapters(ADAPTER, weights=scale)
        if core.merged_lora is not None:
            core.merged_lora.merge()


def lora_key(core: StableDiffusion, image: torch.Tensor, prompt: str, settings: LoraSettings, seed: int) -> str:
    """SHA-256 of all that decides a LoRA: picture, prompt, model, number type, settings, seed, code version."""
    description = {
        "code": CODE_VERSION,
        "model": core.model_hash,
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


def _trained(
    core: StableDiffusion, image: torch.Tensor, prompt: str, settings: LoraSettings, seed: int, key: str
) -> PhaseCost:
    """Give the attached LoRA its trained weights, from the cache where it has them; returns what training cost."""
    if core.cache_dir is None:
        return _train(core, image, prompt, settings, seed)
    file = core.cache_dir / LORA_FOLDER / f"{key}.safetensors"
    file.parent.mkdir(parents=True, exist_ok=True)
    with shared_lock(file.with_suffix(".lock")):
        cost = _read(core, file)
        if cost is None:
            cost = _train(core, image, prompt, settings, seed)
            try:
                _write(core, file, settings, cost)
            except (OSError, SafetensorError) as error:
                log.warning("%s: the LoRA is used, but could not be kept: %s", file, error)
    return cost


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
        crops = Crops(core, image, settings.crop)
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
            core.finite.watch(parameter, "the LoRA's weights after training")
        core.finite.check()
    return core.cost.snapshot("lora").minus(before)


class Crops:
    """Latents of the picture, encoded once per distinct crop.

    The squares start on whole cells of the latent, so that a long picture has few of them and each is encoded once.

    Args:
        core: encodes.
        image: `(1, 3, H, W)` in [-1, 1].
        crop: see `LoraSettings`.
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
        """The latent `(1, C, h, w)` of a crop, each place as likely as any other."""
        corner = tuple(int(torch.randint(0, places + 1, (), generator=generator)) for places in self.places)
        if corner not in self.encoded:
            top, left = (cell * self.core.vae_factor for cell in corner)
            height, width = self.shape
            self.encoded[corner] = self.core.encode(self.image[:, :, top : top + height, left : left + width])
        return self.encoded[corner]


def _read(core: StableDiffusion, file: Path) -> PhaseCost | None:
    """Give the attached LoRA the weights in `file` and return what their training cost; None when they are not there.

    The weights are checked before any of them reaches the UNet, so that a LoRA that is trained instead starts afresh.
    """
    if not file.exists():
        return None
    expected = get_peft_model_state_dict(core.unet, adapter_name=ADAPTER)
    try:
        with safe_open(file, framework="pt") as handle:
            metadata = handle.metadata() or {}
            weights = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 - it is no dictionary
        fault = _fault(weights, metadata, expected, file.stem)
    except (OSError, SafetensorError, ValueError) as error:
        fault = str(error)
    if fault is not None:
        log.warning("%s: expected the LoRA that was saved there, got %s. It is trained again.", file, fault)
        return None
    set_peft_model_state_dict(core.unet, weights, adapter_name=ADAPTER)
    return PhaseCost(**json.loads(metadata["cost"]))


def _fault(
    weights: Mapping[str, torch.Tensor], metadata: Mapping[str, str], expected: Mapping[str, torch.Tensor], key: str
) -> str | None:
    """What is wrong with a LoRA from disk; None when it is the one that was saved."""
    strangers = sorted(weights.keys() ^ expected.keys())
    if strangers:
        return f"other tensors, such as {strangers[0]}"
    for name, tensor in weights.items():
        if tensor.shape != expected[name].shape or tensor.dtype != expected[name].dtype:
            return f"{name} as {tensor.dtype} {tuple(tensor.shape)}"
        if not tensor.isfinite().all():
            return f"{name} with numbers that are not finite"
    if metadata.get("key") != key:
        return f"a LoRA with the key {metadata.get('key')}"
    if metadata.get("sha256") != _checksum(weights, metadata):
        return "another checksum than it names"
    return None


def _checksum(weights: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> str:
    """SHA-256 of a LoRA's weights and of what is said about them."""
    said = {name: text for name, text in metadata.items() if name != "sha256"}
    return hashlib.sha256((json.dumps(said, sort_keys=True) + hash_tensors(weights)).encode()).hexdigest()


def _write(core: StableDiffusion, file: Path, settings: LoraSettings, cost: PhaseCost) -> None:
    weights = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in get_peft_model_state_dict(core.unet, adapter_name=ADAPTER).items()
    }
    metadata = {"cost": json.dumps(asdict(cost)), "settings": json.dumps(asdict(settings)), "key": file.stem}
    metadata["sha256"] = _checksum(weights, metadata)
    with whole_file(file) as temporary:
        save_file(weights, temporary, metadata)
