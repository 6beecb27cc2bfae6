"""Two folders of the same samples, edited with different settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_results import make_sample, measure, the_truth, the_wrong_way, write_edit

from rotationbench.datasets import write_sample
from rotationbench.results import SAMPLES


@pytest.fixture
def two_folders(tmp_path) -> list[Path]:
    """The same samples, edited here with one setting and there with another."""
    roots = [tmp_path / "here", tmp_path / "there"]
    for root, steps in zip(roots, (80, 160), strict=True):
        for index in range(3):
            sample = make_sample(index, 64)
            write_sample(root / SAMPLES / sample.name, sample)
            edited = the_truth(sample) if steps == 80 else the_wrong_way(sample)
            config = {"method": {"name": "rotationdrag", "max_steps": steps}, "seed": 0}
            write_edit(root, sample, "rotationdrag", edited, config=config, weights_hash=str(steps))
        measure(root)
    return roots
