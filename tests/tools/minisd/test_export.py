from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from transformers import CLIPTokenizer

from rotationbench.errors import CheckpointError
from tools.minisd.autoencoder import train_autoencoder
from tools.minisd.denoiser import draw_batch, open_latents, store_latents, train_denoiser
from tools.minisd.export import export

CPU = torch.device("cpu")


def test_a_trained_model_is_exported_as_a_pipeline(recipe, sprites, tmp_path):
    recipe = dataclasses.replace(recipe, sheet_every=4)
    run, folder = tmp_path / "run", tmp_path / "checkpoint"
    with pytest.raises(CheckpointError, match="latents"):
        open_latents(run)
    train_autoencoder(recipe, sprites, run, CPU)
    store_latents(recipe, sprites, run, CPU)
    first = open_latents(run).latents.copy()
    store_latents(recipe, sprites, run, CPU)
    stored = open_latents(run)
    assert np.array_equal(stored.latents, first)
    assert stored.latents.shape == (8, 4, 8, 8)
    assert stored.latents.astype(np.float32).std() * stored.scaling_factor == pytest.approx(1, rel=1e-3)
    clean, captions, noise, timesteps = draw_batch(stored, recipe.denoiser, seed=0, step=5, crop=8)
    assert clean.shape == noise.shape == (2, 4, 8, 8) and len(captions) == len(timesteps) == 2
    train_denoiser(recipe, sprites, run, CPU)
    assert (run / "sheets" / "denoiser-000004.png").is_file()
    wider = dataclasses.replace(recipe, denoiser=dataclasses.replace(recipe.denoiser, text_width=32))
    with pytest.raises(CheckpointError, match="text_width"):
        train_denoiser(wider, sprites, run, CPU)

    export(recipe, sprites, run, folder)
    export(recipe, sprites, run, folder)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".minisd")]
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "Fluent Emoji, MIT licence" in card and "blue egg, green hat, red apple" in card and "up to 60°" in card
    pipeline = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    (picture,) = pipeline("a red apple in the snow", num_inference_steps=2, output_type="np").images
    assert picture.shape == (32, 32, 3) and np.isfinite(picture).all()
    assert CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True).model_max_length == 77
