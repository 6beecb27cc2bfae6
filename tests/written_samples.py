"""Samples in folders of the project's own format, and what is said of those that are faulty."""

import json

import numpy as np
import pytest

from rotationbench.datasets import open_dataset, validate
from rotationbench.errors import DatasetError
from rotationbench.points import ImagePoints
from rotationbench.sample import DragSample, SampleMeta


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


def turned_sample(name="cup", split="generated"):
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (64, 80, 3), np.uint8)
    mask = np.zeros((64, 80), bool)
    mask[10:50, 10:70] = True
    target = image.copy()
    target[mask] = 255 - target[mask]
    return DragSample(
        name,
        image,
        "a cup",
        ImagePoints.of([(50, 30), (40, 30)]),
        ImagePoints.of([(40, 40), (40, 30)]),
        mask,
        target,
        SampleMeta(
            split=split,
            category="utensil",
            licence="CC0-1.0",
            pivot=(40.0, 30.0),
            angle=90.0,
            difficulty="easy",
            object_mask=mask,
            object_mask_target=mask,
            extra={"kind": "whole", "pivot_given": True},
        ),
    )


def problems(root):
    return validate.problems_of(root)[1]
