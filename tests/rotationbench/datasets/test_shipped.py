import numpy as np
import pandas as pd
import pytest

from rotationbench.config import project_root
from rotationbench.datasets import open_dataset, validate
from rotationbench.datasets.index import data_files

ROOT = project_root() / "data" / "rotationbench"


@pytest.fixture(scope="module")
def table():
    return pd.read_csv(ROOT / "index.csv")


def test_validation_passes_on_all_samples():
    dataset, problems = validate.problems_of(ROOT, "rotationbench")
    assert problems == []
    assert len(dataset) == len(pd.read_csv(ROOT / "index.csv"))
    assert len(open_dataset(ROOT, check=False)) == (pd.read_csv(ROOT / "index.csv")["split"] != "in_domain").sum()


def test_splits_and_the_quick_subset(table):
    assert len(open_dataset(ROOT, split="generated", check=False)) == (table["split"] == "generated").sum() >= 40
    assert len(open_dataset(ROOT, split="real", check=False)) == (table["split"] == "real").sum() >= 20
    assert len(open_dataset(ROOT, subset="quick")) == 6
    demo = open_dataset(ROOT, subset="demo")
    assert [sample.meta.split for sample in demo] == 6 * ["in_domain"] + 2 * ["real"]
    for sample in demo[:6]:
        assert sample.target is not None and 20 <= abs(sample.meta.angle) <= 60


def test_the_data_set_is_small_enough():
    assert sum(path.stat().st_size for path in data_files(ROOT)) < 40e6


def test_turns_are_spread_in_both_directions(table):
    generated = table[table["split"] == "generated"]
    for sign in (1, -1):
        turns = generated["angle"] * sign
        counts, _ = np.histogram(turns[turns > 0], bins=[10, 30, 60, 100, 150])
        assert (counts > 0).all(), counts
        assert counts.sum() >= 20
    assert set(generated["handles"]) == {1, 2, 3, 4}
    assert 5 <= (~generated["pivot_given"]).sum() <= len(generated) / 2


def test_every_sample_names_its_licence(table):
    assert table["licence"].notna().all()
    assert set(table.loc[table["split"] == "generated", "exact"]) == {True}
    assert set(table.loc[table["split"] == "real", "exact"]) == {False}
