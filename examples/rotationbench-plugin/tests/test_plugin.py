"""The method moves what it should, and the metric says 1 for a picture that nothing was done to."""

import numpy as np
from rotationbench_plugin.sharpness import SharpnessKept
from rotationbench_plugin.stamp import Stamp

from evaluation.metrics.base import Edited
from rotationbench.points import ImagePoints
from rotationbench.sample import DragSample, to_uint8


def test_what_lies_at_the_handle_comes_to_the_target():
    """A white dot on grey noise is moved, and the detail stays."""
    image = np.random.default_rng(0).integers(90, 110, (64, 64, 3), dtype=np.uint8)
    image[20, 20] = 255
    points = (ImagePoints(np.array([[20.0, 20.0]])), ImagePoints(np.array([[44.0, 40.0]])))
    sample = DragSample("dot", image, "", *points)
    edited = to_uint8(Stamp(radius=6).edit(None, sample).edited)
    assert (edited[40, 44] == 255).all()
    assert (edited[:30] == image[:30]).all()
    metric = SharpnessKept(tools=None)
    assert metric.measure(Edited((), sample, image))["sharpness_kept"] == 1
    assert metric.measure(Edited((), sample, edited))["sharpness_kept"] > 1
