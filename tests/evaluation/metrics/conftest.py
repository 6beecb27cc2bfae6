"""Two pictures."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_results import make_sample


@pytest.fixture
def pictures() -> list[np.ndarray]:
    return [make_sample(index, 224).image for index in range(2)]
