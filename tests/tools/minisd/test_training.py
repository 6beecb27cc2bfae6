"""Trainings of a model of toy size, on synthetic objects."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from tests_helpers import weights

from tools.minisd.autoencoder import train_autoencoder
from tools.minisd.denoiser import store_latents, train_denoiser
from tools.minisd.recipe import (
    Recipe,
)
from tools.minisd.training import Training

CPU = torch.device("cpu")


def test_rates_rise_stay_and_fall_and_weights_are_averaged(recipe, tmp_path):
    settings = dataclasses.replace(recipe.denoiser, learning_rate=1.0, warmup=2, decay=4, steps=10, ema=0.5)
    recipe = dataclasses.replace(recipe, denoiser=settings, save_every=5)
    model = torch.nn.Linear(1, 1, bias=False)
    training = Training(recipe, "denoiser", model, tmp_path)
    rates, weights, averages = [], [], []
    while not training.ended:
        rates.append(training.optimizer.param_groups[0]["lr"])
        training.update(model(torch.ones(1, 1)).square().mean())
        weights.append(model.weight.item())
        with training.averaged():
            averages.append(model.weight.item())
        assert model.weight.item() == weights[-1]
        if training.step == 5:
            training = Training(recipe, "denoiser", model, tmp_path)
            assert training.step == 5
    assert rates == pytest.approx([0.02, 0.51, 1, 1, 1, 1, 1, 0.755, 0.51, 0.265])
    expected = weights[0]
    for step, weight in enumerate(weights[1:], start=1):
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weight
        assert averages[step] == pytest.approx(expected, rel=1e-5)


# --- end to end -----------------------------------------------------------------------------------------------------


def with_steps(recipe: Recipe, autoencoder: int, denoiser: int) -> Recipe:
    """The recipe, ended early as an interruption would."""
    return dataclasses.replace(
        recipe,
        autoencoder=dataclasses.replace(recipe.autoencoder, steps=autoencoder, decay=0),
        denoiser=dataclasses.replace(recipe.denoiser, steps=denoiser, decay=0),
    )


def test_an_interrupted_training_resumes_to_the_same_model(recipe, sprites, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    complete = with_steps(recipe, autoencoder=4, denoiser=4)
    for run, stages in ((whole, [complete]), (parts, [with_steps(recipe, 2, 2), complete])):
        for stage in stages:
            train_autoencoder(stage, sprites, run, CPU)
        store_latents(complete, sprites, run, CPU)
        for stage in stages:
            train_denoiser(stage, sprites, run, CPU)
    for name in ("autoencoder.pt", "denoiser.pt"):
        torch.testing.assert_close(weights(parts / name), weights(whole / name), rtol=0, atol=0)


@pytest.mark.slow
def test_a_compiled_training_learns_the_same(recipe, sprites, tmp_path):
    recipe = with_steps(recipe, autoencoder=2, denoiser=2)
    for run, compiled in ((tmp_path / "plain", False), (tmp_path / "compiled", True)):
        settings = dataclasses.replace(recipe, denoiser=dataclasses.replace(recipe.denoiser, compile=compiled))
        train_autoencoder(settings, sprites, run, CPU)
        store_latents(settings, sprites, run, CPU)
        train_denoiser(settings, sprites, run, CPU)
    # AdamW divides by the gradient's size, so that rounding shows in weights whose gradient is next to nothing.
    pairs = zip(
        weights(tmp_path / "compiled" / "denoiser.pt"), weights(tmp_path / "plain" / "denoiser.pt"), strict=True
    )
    for compiled, plain in pairs:
        torch.testing.assert_close(compiled, plain, rtol=1e-3, atol=1e-4)
