from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.cost import common_parser, options_of
from benchmarks.rotation_bank import Measured, changes, compare, markdown
from rotationbench.config import project_root

GOLDEN = project_root() / "tests" / "golden"


def measured(path, grey, **values) -> Measured:
    return Measured(np.array(path, dtype=float), np.full((2, 2, 3), grey, dtype=np.uint8), values, 10.0)


def test_changes_compare_paths_pictures_and_shared_values():
    one = measured([[[0, 0]], [[3, 4]]], 10, distance=2.0, only_here=1.0)
    other = measured([[[0, 0]], [[0, 0]], [[6, 8]]], 13, distance=5.0)
    found = changes(one, other)
    # The shorter path waits at (3, 4): apart by 0, 5 and 5.
    assert found["path, mean [px]"] == pytest.approx(10 / 3)
    assert found["path, farthest [px]"] == pytest.approx(5.0)
    assert found["picture [of 255]"] == pytest.approx(3.0)
    assert found["distance"] == pytest.approx(3.0)
    assert "only_here" not in found
    assert not any(changes(one, one).values())


def test_the_table_averages_over_samples():
    lines = pd.DataFrame(
        [
            {"sample": "a", "compared": "seeds", "x": 1.0},
            {"sample": "b", "compared": "seeds", "x": 3.0},
            {"sample": "a", "compared": "bank of 3°", "x": 0.5, "evaluations": 0.25},
        ]
    )
    text = markdown(lines).splitlines()
    assert text[0] == "| mean change | seeds | bank of 3° |"
    assert text[2] == "| x | 2 | 0.5 |"
    assert text[3] == "| evaluations |  | 0.25 |"


def test_a_bank_as_fine_as_the_angles_changes_nothing_but_the_cost():
    small = ["--size", "64", "--steps", "4", "--drag-steps", "2", "--lora-steps", "0", "--metrics", "none"]
    folders = ["--model", str(GOLDEN / "tinyA"), "--data", str(GOLDEN / "cases"), "--samples", "rocket"]
    given = common_parser("test", "test").parse_args([*folders, *small, "--device", "cpu"])
    lines = compare(options_of(given), spacings=[0.5], seeds=[0])
    assert list(lines["compared"]) == ["bank of 0.5°"]
    # In two steps no handle turns by more than the angle below which rotated pictures are not looked at.
    assert lines["path, farthest [px]"].item() == 0
    assert lines["picture [of 255]"].item() == 0
    assert lines["evaluations"].item() > 1
