"""A photograph, and SuperPoint with random weights."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import SuperPointConfig, SuperPointForKeypointDetection

from rotationbench.config import project_root


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    image = np.asarray(Image.open(project_root() / "data/photos/astronaut.png").convert("RGB"))
    return np.ascontiguousarray(image[100:340, 100:420])


@pytest.fixture(scope="module")
def random_superpoint() -> SuperPointForKeypointDetection:
    torch.manual_seed(0)
    config = SuperPointConfig(encoder_hidden_sizes=[64, 64, 128, 128], keypoint_threshold=0.0)
    return SuperPointForKeypointDetection(config).eval()


@pytest.fixture(scope="module")
def superpoint_folder(random_superpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("superpoint")
    random_superpoint.save_pretrained(folder)
    return folder
