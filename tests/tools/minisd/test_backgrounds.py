from __future__ import annotations

import numpy as np
import pytest

from tools.minisd.backgrounds import KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_backgrounds_are_pictures(kind):
    background, words = KINDS[kind](np.random.default_rng(1), 40)
    assert background.shape == (40, 40, 3) and background.dtype == np.float32
    assert background.min() >= 0 and background.max() <= 1
    assert words.split()[0] in {"on", "in", "at"}
