"""Photographs for Table I."""

from pathlib import Path

import pytest
from PIL import Image

from rotationbench.config import project_root


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Three photographs in small."""
    folder = tmp_path_factory.mktemp("photos")
    for name in ("china.jpg", "gravel.png", "chelsea.png"):
        with Image.open(project_root() / "data/photos" / name) as image:
            image.convert("RGB").resize((330, 240)).save(folder / name)
    return folder
