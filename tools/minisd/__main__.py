"""Train, export and evaluate MiniSD: `python -m tools.minisd --help`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from rotationbench.errors import RotationBenchError
from tools.minisd.autoencoder import train_autoencoder
from tools.minisd.denoiser import store_latents, train_denoiser
from tools.minisd.evaluate import evaluate, search_settings, write_pictures
from tools.minisd.export import export
from tools.minisd.recipe import load_recipe
from tools.minisd.sprites import fetch, load_sprites, training_things
from tools.minisd.start import start_run
from tools.minisd.training import resolve_device

STEPS = ("fetch", "start", "autoencoder", "latents", "denoiser", "export", "all", "search", "evaluate", "pictures")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.minisd", description=__doc__)
    parser.add_argument(
        "step",
        choices=STEPS,
        help="what to do; `all` is autoencoder to export, `pictures` writes in-domain pictures as files",
    )
    parser.add_argument("overrides", nargs="*", help="settings such as denoiser.steps=5000")
    parser.add_argument("--preset", default="cpu", help="cpu, gpu, or the path of a YAML file")
    parser.add_argument("--run", type=Path, default=Path("outputs/minisd"), help="folder of the training's state")
    parser.add_argument("--cache", type=Path, default=Path(".rotationbench-cache"), help="folder for fetched pictures")
    parser.add_argument("--checkpoint", type=Path, default=Path("data/minisd"), help="folder of the exported model")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--threads", type=int, help="CPU threads of a training")
    parser.add_argument("--minutes", type=float, help="stop a training after this time; the next call goes on")
    parser.add_argument("--report", type=Path, default=Path("outputs/minisd/report"), help="folder of figures")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one step of the recipe; 0 when it went well, 2 for input that a user can put right."""
    options = build_parser().parse_intermixed_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        recipe = load_recipe(options.preset, options.overrides)
        assets = fetch(options.cache)
        if options.step == "pictures":
            write_pictures(recipe, assets, options.report / "pictures")
            return 0
        if options.step in {"search", "evaluate"}:
            options.report.mkdir(parents=True, exist_ok=True)
            measured = search_settings if options.step == "search" else evaluate
            measured(recipe, assets, options.checkpoint, options.report, options.device)
            return 0
        sprites = load_sprites(assets, training_things(assets, recipe.composition.objects))
        device = resolve_device(options.device)
        if options.step == "start":
            start_run(recipe, options.checkpoint, options.run)
        if options.step in {"autoencoder", "all"}:
            train_autoencoder(recipe, sprites, options.run, device, options.minutes)
        if options.step in {"latents", "all"}:
            store_latents(recipe, sprites, options.run, device)
        if options.step in {"denoiser", "all"}:
            train_denoiser(recipe, sprites, options.run, device, options.minutes)
        if options.step in {"export", "all"}:
            export(recipe, sprites, options.run, options.checkpoint)
    except RotationBenchError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
