from __future__ import annotations

import torch

from rotationbench.diffusion.random_weights import byte_tokenizer, random_stable_diffusion


def parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_parts_have_the_published_sizes():
    with torch.device("meta"):
        parts = random_stable_diffusion()
    assert parameters(parts.unet) == 859_520_964
    assert parameters(parts.vae) == 83_653_863
    assert parameters(parts.text_encoder) == 123_060_480


def test_the_tokenizer_cuts_and_pads_to_the_text_model():
    tokenizer = byte_tokenizer()
    tokens = tokenizer("é" + "a" * 100, padding="max_length", max_length=77, truncation=True).input_ids
    assert len(tokens) == 77
    assert tokens[0] == tokenizer.bos_token_id and tokens[-1] == tokenizer.eos_token_id
    short = tokenizer("a cat", padding="max_length", max_length=77).input_ids
    # Four letters between the two marks, the rest padding.
    assert short.count(tokenizer.pad_token_id) == 77 - 1 - 4
