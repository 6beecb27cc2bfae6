import subprocess
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from written_samples import problems, turned_sample

from rotationbench.datasets import index, write_sample


@pytest.fixture
def root(tmp_path):
    for name, split in (("cup", "real"), ("spoon", "generated")):
        write_sample(tmp_path / "data" / name, turned_sample(name, split))
    return tmp_path / "data"


def test_index_and_checksums_agree_with_the_samples(root):
    assert index.main([str(root)]) == 0
    assert problems(root) == []
    table = pd.read_csv(root / "index.csv")
    assert table["name"].tolist() == ["cup", "spoon"]
    assert table.loc[0, ["split", "category", "handles", "pivot_given", "angle", "exact"]].tolist() == [
        "real",
        "utensil",
        1,
        True,
        90.0,
        True,
    ]
    assert table.loc[0, "distance"] == pytest.approx(np.hypot(10, 10), abs=0.1)
    assert table.loc[0, "masked"] == pytest.approx(40 * 60 / (64 * 80), abs=1e-4)
    done = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=root, check=False)
    assert done.returncode == 0


def test_indexing_twice_changes_nothing(root):
    index.main([str(root)])
    before = (root / "index.csv").read_bytes(), (root / "SHA256SUMS").read_bytes()
    index.main([str(root)])
    assert ((root / "index.csv").read_bytes(), (root / "SHA256SUMS").read_bytes()) == before


def test_samples_with_problems_are_not_indexed(root, capsys):
    (root / "cup" / "config.json").unlink()
    assert index.main([str(root)]) == 1
    assert "config.json: expected a file" in capsys.readouterr().out
    assert not (root / "index.csv").exists()


def test_samples_of_objects_that_were_trained_on_are_indexed_and_checked_as_well(root):
    write_sample(root / "fish", replace(turned_sample("fish", split="in_domain"), target=None))
    assert index.main([str(root)]) == 0
    assert "\nfish,in_domain," in (root / "index.csv").read_text()
    assert problems(root) == []
    Image.new("L", (80, 64), 0).save(root / "fish" / "object_mask.png")
    assert f"{root / 'fish'}: expected something in object_mask, got an empty mask." in problems(root)
