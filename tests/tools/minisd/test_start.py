from __future__ import annotations

import dataclasses

import pytest
import torch
from tests_helpers import weights

from rotationbench.errors import CheckpointError
from tools.minisd.autoencoder import train_autoencoder
from tools.minisd.denoiser import store_latents, train_denoiser
from tools.minisd.export import export
from tools.minisd.start import start_run

CPU = torch.device("cpu")


def test_a_run_starts_from_a_checkpoint_of_more_objects(recipe, sprites, tmp_path):
    first, run, folder = tmp_path / "first", tmp_path / "run", tmp_path / "checkpoint"
    train_autoencoder(recipe, sprites, first, CPU)
    store_latents(recipe, sprites, first, CPU)
    train_denoiser(recipe, sprites, first, CPU)
    export(recipe, sprites, first, folder)

    narrower = sprites[:1]
    start_run(recipe, folder, run)
    for name in ("autoencoder.pt", "denoiser.pt"):
        # The checkpoint between the two is in float16.
        torch.testing.assert_close(weights(run / name), weights(first / name), rtol=1e-3, atol=1e-3)
    store_latents(recipe, narrower, run, CPU)
    train_denoiser(recipe, narrower, run, CPU)
    export(recipe, narrower, run, tmp_path / "narrower")
    card = (tmp_path / "narrower" / "README.md").read_text(encoding="utf-8")
    assert "from the weights of an earlier checkpoint" in card
    for name in ("vocab.json", "merges.txt"):
        assert (tmp_path / "narrower" / "tokenizer" / name).read_text() == (folder / "tokenizer" / name).read_text()
    with pytest.raises(CheckpointError, match="state already"):
        start_run(recipe, folder, run)
    wider = dataclasses.replace(recipe, denoiser=dataclasses.replace(recipe.denoiser, channels=(8, 8, 16, 32)))
    with pytest.raises(CheckpointError, match="not of the recipe's shape"):
        start_run(wider, folder, tmp_path / "wider")
