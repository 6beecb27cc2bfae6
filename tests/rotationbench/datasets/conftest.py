"""A data set of two samples."""

import pytest
from written_samples import sample

from rotationbench.datasets import write_sample


@pytest.fixture
def root(tmp_path):
    for name in ("cup", "spoon"):
        write_sample(tmp_path / name, sample(name))
    return tmp_path
