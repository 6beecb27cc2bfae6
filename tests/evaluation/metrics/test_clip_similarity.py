from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from evaluation.metrics.clip_similarity import clip_similarities, load_clip
from rotationbench.errors import MissingWeightsError

CPU = torch.device("cpu")


@pytest.fixture
def small_clip(tmp_path) -> Path:
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, projection_dim=8, num_hidden_layers=1, num_attention_heads=2,
        image_size=32, patch_size=8,
    )  # fmt: skip
    CLIPVisionModelWithProjection(config).save_pretrained(tmp_path)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(tmp_path)
    return tmp_path


def test_clip_similarity_is_the_cosine_of_the_embeddings(small_clip, pictures):
    clip = load_clip(str(small_clip), CPU)
    found = clip_similarities(clip, [pictures[0], pictures[0]], [pictures[0], pictures[1]])
    inputs = clip.processor(images=[Image.fromarray(item) for item in pictures], return_tensors="pt")
    with torch.no_grad():
        first, second = clip.model(**inputs).image_embeds.double().numpy()
    expected = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    assert found == pytest.approx([1, expected], abs=1e-5)


def test_clip_refuses_unequal_numbers_of_pictures(small_clip, pictures):
    with pytest.raises(ValueError, match="got 1 and 2"):
        clip_similarities(load_clip(str(small_clip), CPU), pictures, pictures[:1])


def test_clip_that_is_not_there_names_the_command(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(MissingWeightsError, match="hf download nobody/no-such-clip"):
        load_clip("nobody/no-such-clip", CPU)
