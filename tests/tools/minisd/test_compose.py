from __future__ import annotations

import numpy as np
import pytest

from tools.minisd.compose import ComposedPictures, Placement, compose, draw_object, to_picture, to_tensor
from tools.minisd.recipe import (
    Composition,
)


def test_a_seed_stands_for_one_picture(sprites):
    settings = Composition(side=48)
    first, again, other = (compose(sprites, settings, (7, index)) for index in (3, 3, 4))
    np.testing.assert_array_equal(first.picture, again.picture)
    assert first.caption == again.caption
    assert (first.picture != other.picture).any()


def test_captions_name_object_and_background(sprites):
    captions = [compose(sprites, Composition(side=32), (0, index)).caption for index in range(40)]
    for index, words in enumerate(captions):
        name = sprites[compose(sprites, Composition(side=32), (0, index)).sprite].thing.name
        assert words.startswith(f"a {name} ")
    assert len({words.split(" ", 3)[3] for words in captions}) > 5


def test_an_object_stands_where_its_matrix_says(sprites):
    white = np.ones((80, 80, 3), np.float32)
    placement = Placement((45.0, 35.0), 40.0, 90.0)
    picture = draw_object(white, sprites[0], placement)
    rows, columns = np.nonzero((picture < 200).any(axis=2))
    # Turned by 90° from +x to +y, the upper half of the disc is its right half.
    assert columns.min() >= 44 and columns.max() >= 62 and rows.min() <= 17 and rows.max() >= 52
    matrix = placement.matrix(40)
    np.testing.assert_allclose(matrix @ [19.5, 19.5, 1], [45, 35], atol=1e-9)
    np.testing.assert_allclose(matrix @ [19.5, 9.5, 1], [55, 35], atol=1e-9)


def test_four_in_five_objects_are_upright(sprites):
    settings = Composition(side=32, backgrounds={"plain": 1.0})
    angles = np.array([compose(sprites, settings, (1, index)).placement.angle for index in range(400)])
    # Of the objects that may turn by 60°, a fifth turn by less than 12° all the same.
    assert np.mean(np.abs(angles) <= 12) == pytest.approx(0.8 + 0.2 * 12 / 60, abs=0.06)
    assert np.abs(angles).max() <= 60


def test_whole_objects_stay_inside_at_every_turn(sprites):
    settings = Composition(side=64, scale=(0.5, 0.7), whole=True)
    for index in range(60):
        placement = compose(sprites, settings, (1, index)).placement
        reach = placement.side / np.sqrt(2)
        for coordinate in placement.centre:
            assert reach - 1e-6 <= coordinate <= 64 - reach + 1e-6


def test_pictures_survive_the_way_to_tensors(sprites):
    picture = compose(sprites, Composition(side=32), (0, 0)).picture
    np.testing.assert_array_equal(to_picture(to_tensor(picture)), picture)
    tensor, _ = ComposedPictures(sprites, Composition(side=32), seed=0, count=1)[0]
    np.testing.assert_array_equal(to_picture(tensor), picture)
    crop, _ = ComposedPictures(sprites, Composition(side=32), seed=0, count=1, crop=16)[0]
    assert crop.shape == (3, 16, 16)
