"""Samples in folders of the project's own format, and what is said of those that are faulty."""

import json

import numpy as np
import pytest

from rotationbench.datasets import open_dataset
from rotationbench.errors import DatasetError
from rotationbench.points import ImagePoints
from rotationbench.sample import DragSample


def sample(name="cup", **changes):
    rng = np.random.default_rng(0)
    mask = np.zeros((48, 64), bool)
    mask[10:40, 8:50] = True
    values = {
        "image": rng.integers(0, 256, (48, 64, 3), np.uint8),
        "prompt": "a cup",
        "sources": ImagePoints.of([(20, 20), (30, 30)]),
        "targets": ImagePoints.of([(25, 18), (30, 30)]),
        "mask": mask,
    }
    return DragSample(name, **(values | changes))


def write_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def problems_of(root, **options):
    with pytest.raises(DatasetError) as caught:
        open_dataset(root, **options)
    return caught.value.problems


def the_problem(root, **options):
    (problem,) = problems_of(root, **options)
    return problem
