import numpy as np
import pytest

from tools.dataset.layers import CutOut, Layer, Thing, composed


def test_layers_turn_about_the_pivot_exactly():
    rgba = np.zeros((9, 9, 4))
    rgba[4, 4] = 1
    layer = Layer(CutOut(rgba), (4.0, 4.0), (30.0, 20.0), 1.0, 0.0, moves=True)
    drawn = layer.turned((20.0, 20.0), 90).drawn((50, 50))[..., 3]
    assert np.unravel_index(drawn.argmax(), drawn.shape) == (30, 20)


def test_what_lies_in_front_hides_what_turns():
    full = CutOut(np.ones((20, 20, 4)) * np.array([0.5, 0.5, 0.5, 1]))
    turning = Thing((Layer(full, (10, 10), (32, 32), 1.0, 0.0, moves=True),))
    front = Thing((Layer(full, (10, 10), (37, 32), 1.0, 0.0),))
    _, alone = composed(np.ones((64, 64, 3)), [turning])
    _, hidden = composed(np.ones((64, 64, 3)), [turning, front])
    assert hidden.sum() == pytest.approx(alone.sum() * 0.25, rel=0.1)
    assert not (hidden & ~alone).any()


def test_shadows_are_part_of_the_picture_and_not_of_the_object():
    full = CutOut(np.ones((20, 20, 4)))
    layer = Layer(full, (10, 10), (32, 32), 1.0, 0.0, moves=True)
    picture, seen = composed(np.ones((64, 64, 3)), [Thing((layer,), shadow=0.4)])
    assert picture[46, 42].max() < 230
    assert not seen[46, 42]
