"""Starting a run from an exported checkpoint: its weights as the first state of both trainings, and its tokenizer."""

from __future__ import annotations

from pathlib import Path

from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from rotationbench.errors import CheckpointError
from tools.minisd.autoencoder import build_autoencoder
from tools.minisd.denoiser import build_denoiser
from tools.minisd.recipe import Recipe
from tools.minisd.training import Training


def start_run(recipe: Recipe, checkpoint: Path, run: Path) -> None:
    """Write the states of a run that goes on from `checkpoint`, as after no step: optimizers begin anew.

    Raises:
        CheckpointError: the run has states already, or the checkpoint's parts are not of the recipe's shape.
    """
    for state in (run / "autoencoder.pt", run / "denoiser.pt"):
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
    tokenizer.save_pretrained(run / "tokenizer")
    for part, module in (("autoencoder", autoencoder), ("denoiser", denoiser)):
        Training(recipe, part, module, run).save()
