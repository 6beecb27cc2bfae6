"""What the pages say about defaults is what the defaults are."""

from __future__ import annotations

import re

import pytest

from rotationbench.config import named_model, project_root
from rotationbench.diffusion.dift import DiftSettings

MODELS = [file.stem for file in (project_root() / "conf" / "model").glob("*.yaml")]
ROW = re.compile(r"^\| (`.*?)(?:, the default)? \| (\d+) \| (\d+) \| (\d+²|their own size) \|$", re.MULTILINE)


def documented() -> dict[str, tuple[str, ...]]:
    """By model, where the page of metrics says that features are read."""
    page = (project_root() / "docs" / "evaluation.md").read_text(encoding="utf-8")
    return {name: row[1:] for row in ROW.findall(page) for name in re.findall(r"`(\w+)`", row[0])}


@pytest.mark.parametrize("name", MODELS)
def test_kind_35_mean_distances_are_read_where_the_page_says(name):
    proposed = {} if name == "local" else named_model(name).dift or {}
    settings = DiftSettings(**proposed)
    size = "their own size" if settings.resolution is None else f"{settings.resolution}²"
    assert documented()[name] == (str(settings.timestep), str(settings.up_block), size)
    assert settings.ensemble == 8


def test_the_page_knows_no_other_models():
    assert documented().keys() == set(MODELS)
