"""Writing the trained parts as a checkpoint folder that diffusers loads."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

from rotationbench.files import write_json
from tools.minisd.autoencoder import load_autoencoder
from tools.minisd.denoiser import build_scheduler, load_denoiser, open_latents, run_tokenizer
from tools.minisd.recipe import Recipe
from tools.minisd.sprites import PACKAGE, VERSION, Sprite

README = """# MiniSD

A small text-to-picture model in the layout of Stable Diffusion 1.5, for demonstrations and tests without a network
or a GPU. It is no use beyond that.

## What it was trained on

{side}² pictures of one object on a ground of these kinds: {grounds}. Objects are {scale} of the picture's side large
and turn by up to {degrees}°. They are:

{objects}.

Everything else is foreign to it. How far it has learnt to draw and to drag these, `docs/minisd.md` says.

## How it was made

By `python -m tools.minisd` with the settings in `recipe.json`; the denoiser took {steps} steps of {batch} pictures
{since}.

The weights are published under this repository's licence. They were trained on composed pictures of the emoji in the
npm package `{package}` {version} (Microsoft's Fluent Emoji, MIT licence, © Microsoft Corporation) on procedural
backgrounds, textures and photographs from scikit-image and scikit-learn; no part of them is stored here.
"""


def export(recipe: Recipe, sprites: Sequence[Sprite], run: Path, folder: Path) -> None:
    """Write `folder` in diffusers layout: averaged weights in float16 as safetensors, settings and a README.

    An existing checkpoint in `folder` is replaced only after the new one is complete.
    """
    stored = open_latents(run)
    tokenizer = run_tokenizer(recipe, sprites, run)
    denoiser, steps = load_denoiser(recipe, tokenizer, run)
    autoencoder = load_autoencoder(recipe, run, torch.device("cpu"))
    autoencoder.register_to_config(scaling_factor=stored.scaling_factor, force_upcast=False)
    pipeline = StableDiffusionPipeline(
        vae=autoencoder,
        text_encoder=denoiser.text_encoder,
        tokenizer=tokenizer,
        unet=denoiser.unet,
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).to(dtype=torch.float16)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".minisd-") as staging:
        complete = Path(staging) / "checkpoint"
        pipeline.save_pretrained(complete, safe_serialization=True)
        # transformers takes this entry for the type to load into; diffusers loads into float32 unless told otherwise.
        config_path = complete / "text_encoder" / "config.json"
        config = json.loads(config_path.read_text(encoding="utf-8"))
        write_json(config_path, config | {"dtype": "float32"})
        # The files of the slow CLIP tokenizer, which older versions of transformers look for.
        tokenizer.backend_tokenizer.model.save(str(complete / "tokenizer"))
        write_json(complete / "recipe.json", recipe.as_dict())
        (complete / "README.md").write_text(
            README.format(
                side=recipe.composition.side,
                grounds=", ".join(kind for kind, weight in recipe.composition.backgrounds.items() if weight > 0),
                objects=", ".join(sorted(sprite.thing.name for sprite in sprites)),
                scale=" to ".join(f"{scale:.0%}" for scale in recipe.composition.scale),
                degrees=round(recipe.composition.turned_degrees),
                steps=steps,
                batch=recipe.denoiser.batch,
                since="from the weights of an earlier checkpoint" if (run / "tokenizer").is_dir() else "from scratch",
                package=PACKAGE,
                version=VERSION,
            ),
            encoding="utf-8",
        )
        if folder.exists():
            folder.rename(Path(staging) / "replaced")
        shutil.move(complete, folder)
