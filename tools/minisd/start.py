"""Starting a run from an exported checkpoint: its weights as the first state of both trainings, and its tokenizer."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from rotationbench.errors import CheckpointError
from tools.minisd.autoencoder import build_autoencoder
from tools.minisd.denoiser import build_denoiser
from tools.minisd.recipe import Recipe
from tools.minisd.training import Average, save_state


def start_run(recipe: Recipe, checkpoint: Path, run: Path) -> None:
    """Write the states of a run that goes on from `checkpoint`, as after no step: optimizers begin anew.

    Raises:
        CheckpointError: the run has states already, or the checkpoint's parts are not of the recipe's shape.
    """
    states = run / "autoencoder.pt", run / "denoiser.pt"
    for state in states:
        if state.exists():
            raise CheckpointError(f"{state}: the run has a state already; expected a new folder to start in.")
    tokenizer = CLIPTokenizer.from_pretrained(checkpoint / "tokenizer", local_files_only=True)
    autoencoder = build_autoencoder(recipe.autoencoder, recipe.composition.side)
    denoiser = build_denoiser(recipe, tokenizer)
    parts = {
        "vae": (autoencoder, AutoencoderKL),
        "unet": (denoiser.unet, UNet2DConditionModel),
        "text_encoder": (denoiser.text_encoder, CLIPTextModel),
    }
    for name, (module, kind) in parts.items():
        theirs = kind.from_pretrained(checkpoint / name, local_files_only=True)
        try:
            module.load_state_dict(theirs.float().state_dict())
        except RuntimeError as error:
            raise CheckpointError(f"{checkpoint / name}: is not of the recipe's shape: {error}") from error
    run.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(run / "tokenizer")
    for state, module, settings in zip(
        states, (autoencoder, denoiser), (recipe.autoencoder, recipe.denoiser), strict=True
    ):
        optimizer = torch.optim.AdamW(module.parameters(), settings.learning_rate)
        save_state(state, recipe, 0, model=module, average=Average(module, settings.ema).module, optimizer=optimizer)
