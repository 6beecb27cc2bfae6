"""The denoiser: a UNet in the block structure of Stable Diffusion 1.5 and a CLIP text model, trained together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from numpy.lib.format import open_memmap
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from rotationbench.errors import CheckpointError
from rotationbench.files import write_json
from tools.minisd.autoencoder import LATENTS_SEED, load_autoencoder
from tools.minisd.compose import ComposedPictures, to_picture
from tools.minisd.recipe import DenoiserRecipe, Recipe
from tools.minisd.sheets import write_sheet
from tools.minisd.sprites import Sprite
from tools.minisd.tokenizer import LENGTH, build_tokenizer
from tools.minisd.training import Progress, Training, autocast, batches, generator_of, load_average

STORING_BATCH = 32


class Denoiser(nn.Module):
    """The UNet together with the text encoder that conditions it; predicts noise."""

    def __init__(self, unet: UNet2DConditionModel, text_encoder: CLIPTextModel) -> None:
        super().__init__()
        self.unet, self.text_encoder = unet, text_encoder

    def forward(self, latents: torch.Tensor, timesteps: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Noise `(B, C, h, w)` in `latents` at `timesteps` `(B,)`, given tokens `(B, 77)`."""
        return self.unet(latents, timesteps, self.text_encoder(tokens)[0]).sample


def build_denoiser(recipe: Recipe, tokenizer: CLIPTokenizer) -> Denoiser:
    """An untrained denoiser; as in Dhariwal and Nichol (2105.05233), every residual branch starts at zero."""
    settings = recipe.denoiser
    unet = UNet2DConditionModel(
        sample_size=recipe.composition.side // recipe.factor,
        in_channels=recipe.autoencoder.latent_channels,
        out_channels=recipe.autoencoder.latent_channels,
        block_out_channels=tuple(settings.channels),
        # Despite its name, diffusers reads this as the number of heads.
        attention_head_dim=tuple(settings.heads),
        cross_attention_dim=settings.text_width,
        norm_num_groups=settings.norm_groups,
    )
    for module in unet.modules():
        if isinstance(module, ResnetBlock2D):
            nn.init.zeros_(module.conv2.weight)
        elif isinstance(module, Transformer2DModel):
            nn.init.zeros_(module.proj_out.weight)
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=settings.text_width,
            intermediate_size=4 * settings.text_width,
            num_hidden_layers=settings.text_layers,
            num_attention_heads=settings.text_heads,
            max_position_embeddings=LENGTH,
            projection_dim=settings.text_width,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    return Denoiser(unet, text_encoder)


def build_scheduler() -> DDIMScheduler:
    """Stable Diffusion 1.5's noise schedule."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


# --- latents on disk ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class StoredLatents:
    """Stored training data: latents, float16 `(N, C, h, w)` and not scaled yet, captions, and the scaling factor."""

    latents: np.ndarray
    captions: list[str]
    scaling_factor: float


@torch.no_grad()
def store_latents(recipe: Recipe, sprites: Sequence[Sprite], run: Path, device: torch.device) -> None:
    """Encode the pictures that the denoiser is trained on into `run`; what is there already is kept."""
    model = load_autoencoder(recipe, run, device)
    folder, count = run / "latents", recipe.denoiser.pictures
    folder.mkdir(parents=True, exist_ok=True)
    side = recipe.composition.side // recipe.factor
    shape = (count, recipe.autoencoder.latent_channels, side, side)
    latents_path, index_path = folder / "latents.npy", folder / "index.json"
    index = {"captions": [], "scaling_factor": 0.0}
    if index_path.is_file():
        index = json.loads(index_path.read_text(encoding="utf-8"))
    captions: list[str] = index["captions"]
    done = len(captions)
    mode = "r+" if done else "w+"
    latents = open_memmap(latents_path, mode=mode, dtype=np.float16, shape=None if done else shape)
    if latents.shape != shape:
        raise CheckpointError(f"{latents_path}: expected latents {shape}, got {latents.shape}; remove the folder.")
    pictures = ComposedPictures(sprites, recipe.composition, recipe.seed + LATENTS_SEED, count - done, first=done)
    progress = Progress("latents", done // STORING_BATCH, count // STORING_BATCH)
    for batch, words in batches(pictures, max(1, min(STORING_BATCH, count - done)), recipe.workers):
        with autocast(device):
            encoded = model.encode(batch.to(device)).latent_dist.mean.float()
        latents[len(captions) : len(captions) + len(batch)] = encoded.cpu().numpy()
        captions.extend(words)
        progress.advance(0.0)
        if len(captions) % (32 * STORING_BATCH) == 0:
            latents.flush()
            write_json(index_path, index)
    index["scaling_factor"] = float(1 / latents[:1024].astype(np.float32).std())
    latents.flush()
    write_json(index_path, index)


def open_latents(run: Path) -> StoredLatents:
    """The latents that `store_latents` stored.

    Raises:
        CheckpointError: when they are missing or not complete.
    """
    index_path = run / "latents" / "index.json"
    if not index_path.is_file():
        raise CheckpointError(f"{index_path}: no such file; run the step `latents` first.")
    index = json.loads(index_path.read_text(encoding="utf-8"))
    latents = np.load(run / "latents" / "latents.npy", mmap_mode="r")
    if not index["scaling_factor"]:
        raise CheckpointError(f"{index_path}: the latents are not complete; run the step `latents` to the end.")
    return StoredLatents(latents[: len(index["captions"])], index["captions"], index["scaling_factor"])


# --- training -------------------------------------------------------------------------------------------------------


def tokenize(tokenizer: CLIPTokenizer, captions: Sequence[str]) -> torch.Tensor:
    """Token numbers `(B, 77)`."""
    return tokenizer(
        [*captions], padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt"
    ).input_ids


def draw_batch(
    stored: StoredLatents, settings: DenoiserRecipe, seed: int, step: int, crop: int
) -> tuple[torch.Tensor, list[str], torch.Tensor, torch.Tensor]:
    """What the training step of that number learns from: a function of the seed and the step alone.

    Returns:
        Clean scaled latents `(B, C, crop, crop)`, captions, noise of the latents' shape, timesteps `(B,)`.
    """
    generator = generator_of(seed, step)
    rows = torch.randint(len(stored.captions), (settings.batch,), generator=generator).tolist()
    room = stored.latents.shape[-1] - crop + 1
    corners = torch.randint(room, (settings.batch, 2), generator=generator).tolist()
    latents = np.stack(
        [stored.latents[row, :, y : y + crop, x : x + crop] for row, (y, x) in zip(rows, corners, strict=True)]
    )
    empty = torch.rand(settings.batch, generator=generator) < settings.empty_share
    captions = ["" if blank else stored.captions[row] for row, blank in zip(rows, empty.tolist(), strict=True)]
    clean = torch.from_numpy(latents.astype(np.float32)) * stored.scaling_factor
    noise = torch.randn(clean.shape, generator=generator)
    timesteps = torch.randint(1000, (settings.batch,), generator=generator)
    return clean, captions, noise, timesteps


def snr_weights(alphas: torch.Tensor, gamma: float) -> torch.Tensor:
    """Weight of the noise-prediction error per sample, min(SNR, γ)/SNR with SNR = ᾱ/(1 − ᾱ); ones when γ is 0."""
    if gamma <= 0:
        return torch.ones_like(alphas)
    snr = alphas / (1 - alphas)
    return snr.clamp(max=gamma) / snr


def train_denoiser(
    recipe: Recipe, sprites: Sequence[Sprite], run: Path, device: torch.device, minutes: float | None = None
) -> Path:
    """Train, or go on training, on the stored latents; returns the state's file; stops after `minutes` when given."""
    settings, stored = recipe.denoiser, open_latents(run)
    tokenizer = run_tokenizer(recipe, sprites, run)
    torch.manual_seed(recipe.seed)
    model = build_denoiser(recipe, tokenizer).to(device, memory_format=torch.channels_last)
    training = Training(recipe, "denoiser", model, run, minutes)
    # The compiled callable shares the model's weights; the state keeps the names of the plain one.
    predict = torch.compile(model) if settings.compile else model
    alphas = build_scheduler().alphas_cumprod
    whole = stored.latents.shape[-1]
    while not training.ended:
        crop = settings.crop if training.step < settings.crop_steps else whole
        clean, captions, noise, timesteps = draw_batch(stored, settings, recipe.seed, training.step, crop)
        alpha = alphas[timesteps].view(-1, 1, 1, 1)
        noisy = (alpha.sqrt() * clean + (1 - alpha).sqrt() * noise).to(device, memory_format=torch.channels_last)
        with autocast(device):
            predicted = predict(noisy, timesteps.to(device), tokenize(tokenizer, captions).to(device))
        errors = (predicted.float() - noise.to(device)).square().mean((1, 2, 3))
        training.update((errors * snr_weights(alphas[timesteps], settings.snr_gamma).to(device)).mean())
        if training.step % recipe.sheet_every == 0:
            captions, autoencoder = stored.captions[:8], load_autoencoder(recipe, run, device)
            with training.averaged():
                pictures = sample(model, tokenizer, autoencoder, stored.scaling_factor, captions, seed=0)
            write_sheet(run / "sheets" / f"denoiser-{training.step:06d}.png", pictures, columns=8, captions=captions)
    return training.state


def run_tokenizer(recipe: Recipe, sprites: Sequence[Sprite], run: Path) -> CLIPTokenizer:
    """The tokenizer that the run started from, if it did, else the one that belongs to the recipe's objects."""
    if (run / "tokenizer").is_dir():
        return CLIPTokenizer.from_pretrained(run / "tokenizer", local_files_only=True)
    return build_tokenizer([sprite.thing.name for sprite in sprites], recipe.denoiser.vocabulary)


def load_denoiser(recipe: Recipe, tokenizer: CLIPTokenizer, run: Path) -> tuple[Denoiser, int]:
    """The averaged weights of a training, and the number of its steps.

    Raises:
        CheckpointError: when nothing has been trained yet.
    """
    model = build_denoiser(recipe, tokenizer)
    step = load_average(run / "denoiser.pt", "denoiser", recipe, model)
    return model, step


@torch.no_grad()
def sample(
    model: Denoiser,
    tokenizer: CLIPTokenizer,
    autoencoder: AutoencoderKL,
    scaling_factor: float,
    captions: Sequence[str],
    seed: int,
    steps: int = 20,
    guidance: float = 3.0,
) -> list[np.ndarray]:
    """Pictures, uint8 `(H, W, 3)`, from captions by DDIM with classifier-free guidance."""
    device = next(model.parameters()).device
    scheduler = build_scheduler()
    scheduler.set_timesteps(steps)
    config = model.unet.config
    generator = torch.Generator().manual_seed(seed)
    shape = (len(captions), config.in_channels, config.sample_size, config.sample_size)
    latents = torch.randn(shape, generator=generator).to(device)
    tokens = tokenize(tokenizer, [""] * len(captions) + [*captions]).to(device)
    for timestep in scheduler.timesteps.tolist():
        times = torch.full((2 * len(captions),), timestep, device=device)
        empty, prompted = model(latents.repeat(2, 1, 1, 1), times, tokens).chunk(2)
        latents = scheduler.step(empty + guidance * (prompted - empty), timestep, latents).prev_sample
    return [to_picture(picture) for picture in autoencoder.decode(latents / scaling_factor).sample]
