from __future__ import annotations

import numpy as np
from generated_drags import distances_left, generated, picture

from methods.nothing import Nothing


def test_nothing_returns_the_very_picture_and_the_whole_drag_is_left():
    sample = generated("gen-anchor")
    result = Nothing().edit(None, sample)
    np.testing.assert_array_equal(picture(result), sample.image)
    assert (result.steps, result.converged) == (0, False)
    drag = np.linalg.norm(sample.targets.xy - sample.sources.xy, axis=1)
    np.testing.assert_allclose(distances_left(result, sample), drag, atol=1e-9)
