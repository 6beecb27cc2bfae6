"""Prompts as Stable Diffusion's text encoder sees them."""

from __future__ import annotations

import torch
from transformers import CLIPTextModel, CLIPTokenizer

from rotationbench.diffusion.limits import check_prompt


@torch.no_grad()
def embed_prompt(
    prompt: str, tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel, device: torch.device
) -> torch.Tensor:
    """Text embedding `(1, 77, C)` of a prompt, cut and padded to the text encoder's length.

    Raises:
        ConfigError: when the prompt is longer than anything that could reach the text encoder.
    """
    check_prompt(prompt)
    tokens = tokenizer(
        prompt,
        padding="max_length",
        max_length=text_encoder.config.max_position_embeddings,
        truncation=True,
        return_tensors="pt",
    )
    embedded: torch.Tensor = text_encoder(tokens.input_ids.to(device))[0]
    return embedded
