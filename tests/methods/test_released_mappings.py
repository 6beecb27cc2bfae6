from __future__ import annotations

import cv2
import numpy as np
from mapped_cells import as_dict, box

from methods.released_mappings import blended, cells_of, filled, point_pairs, polygon, region_pair


def test_a_triangle_maps_affinely():
    # Twice as wide and moved: every second column of the target shares its source.
    source, target = np.array([[8, 8], [24, 8], [8, 40]]), np.array([[16, 16], [48, 16], [16, 48]])
    pairs = as_dict(polygon(source, target, 8, (8, 12)))
    assert pairs[2, 2] == (1, 1)
    assert pairs[6, 2] == (3, 1)
    assert pairs[2, 6] == (1, 5)
    assert pairs[3, 3] == (1, 2)
    assert set(pairs) == {tuple(cell) for cell in cells_of(filled(target / 8, (8, 12))).tolist()}


def test_a_quadrilateral_maps_in_perspective():
    source = np.array([[10, 10], [50, 14], [46, 50], [6, 40]])
    target = np.array([[20, 8], [70, 8], [80, 60], [12, 50]])
    pairs = as_dict(polygon(source, target, 1, (64, 96)))
    matrix = cv2.getPerspectiveTransform(np.float32(target), np.float32(source))
    for (x, y), found in list(pairs.items())[::97]:
        mapped = matrix @ [x, y, 1]
        assert np.abs(mapped[:2] / mapped[2] - found).max() <= 1 + 1e-3
    for corner, end in zip(source.tolist(), target.tolist(), strict=True):
        assert np.abs(np.array(pairs[tuple(end)]) - corner).max() <= 1


def test_a_region_is_scaled_column_by_column():
    source, target = box((12, 20), 2, 3, 5, 8), box((12, 20), 8, 1, 13, 10)
    # Columns 8 to 12 come from 2 to 4, rows 1 to 9 from 3 to 7, at half a cell per cell, cut off.
    expected = {(x, y): (2 + (x - 8) // 2, 3 + (y - 1) // 2) for x in range(8, 13) for y in range(1, 10)}
    assert as_dict(region_pair(source, target)) == expected


def test_rows_are_scaled_within_each_column():
    source = box((12, 12), 2, 2, 6, 10)
    target = np.zeros((12, 12), dtype=bool)
    for column, height in ((6, 8), (7, 4), (8, 2), (9, 1)):
        target[:height, column] = True
    pairs = as_dict(region_pair(source, target))
    assert pairs[6, 7] == (2, 9)
    assert pairs[7, 3] == (3, 9)
    assert pairs[8, 1] == (4, 9)
    assert pairs[9, 0] == (5, 2)


def test_columns_that_the_source_lacks_give_nothing():
    source = box((8, 12), 0, 2, 2, 6) | box((8, 12), 4, 2, 6, 6)
    pairs = as_dict(region_pair(source, box((8, 12), 6, 2, 12, 6)))
    assert {x for x, _ in pairs} == {6, 7, 10, 11}
    empty = np.zeros((8, 12), dtype=bool)
    assert [len(side) for side in region_pair(empty, source)] == [0, 0]
    assert [len(side) for side in region_pair(source, empty)] == [0, 0]


def test_a_part_follows_its_handle_and_others_stay():
    region = box((10, 20), 1, 1, 5, 6) | box((10, 20), 10, 1, 14, 6)
    pairs = as_dict(point_pairs(region, np.array([[11, 2]]), np.array([[14, 4]])))
    assert pairs == {(x + 3, y + 2): (x, y) for x in range(10, 14) for y in range(1, 6)}
    assert [len(side) for side in point_pairs(region, np.array([[8, 8]]), np.array([[9, 9]]))] == [0, 0]


def test_two_handles_blend_and_a_pivot_holds_still():
    region = box((20, 40), 4, 4, 25, 9)
    handles, targets = np.array([[4, 6], [24, 6]]), np.array([[4, 6], [24, 12]])
    pairs = as_dict(point_pairs(region, handles, targets))
    assert pairs[4, 6] == (4, 6)
    assert pairs[24, 12] == (24, 6)
    # In the middle both count alike: half of six cells.
    assert pairs[14, 9] == (14, 6)


def test_blending_agrees_with_a_loop_where_float16_does_not_round():
    rng = np.random.default_rng(1)
    points, references = rng.integers(0, 60, (40, 2)), rng.integers(0, 60, (7, 2))
    ways = np.tile([[3, -5]], (7, 1))
    assert (blended(points, references, ways) == points + np.array([3, -5])).all()
    ways = rng.integers(-9, 9, (7, 2))
    for point, found in zip(points, blended(points, references, ways), strict=True):
        distances = np.linalg.norm(references - point, axis=1)
        nearest = np.argsort(distances, kind="stable")[:4]
        weights = 1 / (distances[nearest] + 1e-4)
        expected = point + (weights / weights.sum()) @ ways[nearest]
        assert np.abs(found - expected).max() < 0.55


def test_many_references_are_thinned_out():
    cells = cells_of(np.ones((30, 30), dtype=bool))
    assert (blended(cells, cells, np.ones_like(cells)) == cells + 1).all()
