from __future__ import annotations

import torch

from tools.minisd.autoencoder import build_autoencoder, reconstruct
from tools.minisd.recipe import (
    AutoencoderRecipe,
)


def test_an_untrained_autoencoder_keeps_the_colours():
    torch.manual_seed(0)
    model = build_autoencoder(AutoencoderRecipe(), side=64).eval()
    colours = torch.tensor([[0.6, -0.4, 0.2], [-0.5, 0.5, 0.0]]).view(2, 3, 1, 1).expand(2, 3, 64, 64)
    decoded = reconstruct(model, colours)[..., 16:-16, 16:-16].mean((2, 3))
    direction = torch.nn.functional.cosine_similarity(decoded, colours[..., 0, 0])
    assert (direction > 0.85).all()
