from __future__ import annotations

import numpy as np
import pytest

from evaluation.study.intervals import share


def test_a_share_has_the_binomial_interval_where_answers_are_independent():
    rng = np.random.default_rng(0)
    counted = (rng.random((400, 1)) < 0.3).astype(float)
    each = np.arange(400)
    found = share(counted, np.ones_like(counted), each, each, resamples=2000)
    error = np.sqrt(found.value * (1 - found.value) / 400)
    assert (found.high - found.low)[0] == pytest.approx(2 * 1.966 * error[0], rel=0.12)
