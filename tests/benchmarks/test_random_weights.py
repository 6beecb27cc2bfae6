from __future__ import annotations

import torch

from benchmarks.random_weights import byte_tokenizer, main, random_stable_diffusion


def parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_parts_have_the_published_sizes():
    with torch.device("meta"):
        parts = random_stable_diffusion()
    assert parameters(parts.unet) == 859_520_964
    assert parameters(parts.vae) == 83_653_863
    assert parameters(parts.text_encoder) == 123_060_480 - (49408 - 514) * 768


def test_the_tokenizer_cuts_and_pads_to_the_text_model():
    tokenizer = byte_tokenizer()
    tokens = tokenizer("é" + "a" * 100, padding="max_length", max_length=77, truncation=True).input_ids
    assert len(tokens) == 77
    assert tokens[0] == tokenizer.bos_token_id and tokens[-1] == tokenizer.eos_token_id
    short = tokenizer("a cat", padding="max_length", max_length=77).input_ids
    # Four letters between the two marks, the rest padding.
    assert short.count(tokenizer.pad_token_id) == 77 - 1 - 4


def test_what_is_written_loads_as_a_checkpoint(tmp_path, monkeypatch):
    from benchmarks import random_weights
    from rotationbench.diffusion import StableDiffusion

    small = {"UNET": ("block_out_channels", (32, 64, 64, 64)), "VAE": ("block_out_channels", (32, 32, 32, 32))}
    for name, (key, value) in small.items():
        monkeypatch.setitem(getattr(random_weights, name), key, value)
    monkeypatch.setitem(random_weights.TEXT_ENCODER, "num_hidden_layers", 1)
    assert main([str(tmp_path / "sd")]) == 0
    core = StableDiffusion.from_pretrained(str(tmp_path / "sd"), device="cpu", num_inference_steps=2)
    latents = core.encode(torch.zeros(1, 3, 64, 64))
    assert core.noise(latents, 1, core.embed("a cat")).shape == (1, 4, 8, 8)


def test_a_missing_folder_is_asked_for(capsys):
    assert main([]) == 2
    assert "FOLDER" in capsys.readouterr().out
