from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mapped_cells import as_dict, box

from methods.region_mapping import (
    Mapping,
    carried,
    dense_mapping,
    mean_angle,
    moved,
    on_grid,
    rectangles,
    turned,
)
from rotationbench.errors import ConfigError
from rotationbench.points import ImagePoints
from rotationbench.sample import DragSample, Region, Regions, SampleMeta


def sample_of(size=(64, 96), sources=(), targets=(), mask=None, **fields) -> DragSample:
    return DragSample(
        name="drawn",
        image=np.zeros((*size, 3), dtype=np.uint8),
        prompt="",
        sources=ImagePoints.of(sources),
        targets=ImagePoints.of(targets),
        mask=mask,
        **fields,
    )


# --- rotation -------------------------------------------------------------------------------------------------------


def test_a_quarter_turn_is_clockwise_on_the_screen():
    # Right of the pivot goes below it: (5, 2) about (3, 2) comes to (3, 4).
    pairs = as_dict(turned(box((8, 9), 5, 2, 6, 3), np.array([3.0, 2.0]), 90.0))
    assert pairs == {(3, 4): (5, 2)}


@pytest.mark.parametrize("angle", [30.0, -75.5, 160.0])
def test_a_turn_agrees_with_a_loop_over_cells(angle):
    rng = np.random.default_rng(3)
    mask = rng.random((9, 14)) > 0.4
    pivot = np.array([6.3, 4.75])
    expected = {}
    for row in range(9):
        for col in range(14):
            back = (complex(col, row) - complex(*pivot)) * np.exp(-1j * np.radians(angle)) + complex(*pivot)
            x, y = int(np.floor(back.real + 0.5)), int(np.floor(back.imag + 0.5))
            if 0 <= x < 14 and 0 <= y < 9 and mask[y, x]:
                expected[col, row] = (x, y)
    found = turned(mask, pivot, angle)
    assert as_dict(found) == expected
    assert found[1].tolist() == sorted(found[1].tolist(), key=lambda cell: cell[::-1])


def test_what_leaves_the_grid_is_left_out():
    pairs = as_dict(moved(np.ones((4, 6), dtype=bool), np.eye(2), np.array([-2.0, 1.0])))
    assert pairs == {(x + 2, y - 1): (x, y) for x in range(4) for y in range(1, 4)}


@pytest.mark.parametrize(
    ("handles", "targets", "expected"),
    [
        ([(10, 0)], [(0, 10)], 90.0),
        ([(10, 0), (10, 0)], [(0, 10), (10, 10)], 67.5),
        # −179° and 179° mean a half turn, not none.
        ([(10, 0), (10, 0)], [(-100, 1.7455), (-100, -1.7455)], 180.0),
        # A handle on the pivot has no angle.
        ([(0, 0), (10, 0)], [(5, 5), (0, -10)], -90.0),
        ([(0, 0)], [(5, 5)], 0.0),
    ],
)
def test_the_angle_is_the_mean_of_the_handles(handles, targets, expected):
    found = mean_angle(np.array(handles, dtype=float) + 7, np.array(targets, dtype=float) + 7, np.array([7.0, 7.0]))
    assert abs(found) == pytest.approx(180) if expected == 180 else found == pytest.approx(expected)


def test_the_object_turns_about_the_pivot_pair():
    object_mask = box((64, 96), 48, 16, 72, 32)
    sample = sample_of(
        sources=[(40, 24), (72, 24)],
        targets=[(40, 24), (40, 56)],
        mask=np.ones((64, 96), dtype=bool),
        meta=SampleMeta(object_mask=object_mask),
    )
    expected = as_dict(turned(object_mask[::8, ::8], np.array([5.0, 3.0]), 90.0))
    assert as_dict(dense_mapping(sample, Mapping(), 8)) == expected
    assert as_dict(dense_mapping(sample, Mapping(kind="rotation"), 8)) == expected
    # Without an object mask what may change turns, and everything without a mask.
    unknown = replace(sample, meta=SampleMeta(), mask=object_mask)
    assert as_dict(dense_mapping(unknown, Mapping(), 8)) == expected
    everything = dense_mapping(replace(unknown, mask=None), Mapping(), 8)
    assert len(everything[0]) > len(expected)


def test_settings_go_before_the_sample_and_the_pivot_pair_before_the_metadata():
    sample = sample_of(sources=[(72, 24)], targets=[(40, 56)], meta=SampleMeta(pivot=(40, 24)))
    assert as_dict(dense_mapping(sample, Mapping(), 8)) == as_dict(
        dense_mapping(sample, Mapping(pivot=[40, 24], angle=90.0), 8)
    )
    with_pair = sample_of(sources=[(48, 24), (80, 24)], targets=[(48, 24), (48, 56)], meta=SampleMeta(pivot=(0.0, 0.0)))
    assert as_dict(dense_mapping(with_pair, Mapping(), 8)) == as_dict(
        dense_mapping(with_pair, Mapping(pivot=[48, 24], angle=90.0), 8)
    )


def test_without_a_pivot_the_object_moves_by_the_mean_way():
    mask = box((64, 96), 24, 16, 48, 32)
    sample = sample_of(sources=[(26, 20), (40, 20)], targets=[(42, 28), (56, 28)], mask=mask)
    pairs = as_dict(dense_mapping(sample, Mapping(), 8))
    assert pairs == {(x + 2, y + 1): (x, y) for x in range(3, 6) for y in range(2, 4)}
    with pytest.raises(ConfigError, match=r"method.mapping.angle: expected a pivot"):
        dense_mapping(sample, Mapping(angle=30.0), 8)
    nothing = dense_mapping(sample_of(mask=mask), Mapping(), 8)
    assert (nothing[0] == nothing[1]).all()


def test_pixels_are_mapped_like_cells():
    sample = sample_of(sources=[(40, 24), (72, 24)], targets=[(40, 24), (60, 50)], mask=box((64, 96), 48, 16, 72, 32))
    pixels = dense_mapping(sample, Mapping(angle=20.0), 1)
    expected = as_dict(turned(sample.mask, np.array([40.0, 24.0]), 20.0))
    assert as_dict(pixels) == expected


# --- the published mappings -----------------------------------------------------------------------------------------


def test_a_quadrilateral_as_the_published_interface_saves_it():
    """The interface's file for a square that becomes a parallelogram, as latent cells: target to source."""
    saved = {
        (6, 2): (2, 2), (7, 2): (2, 1), (8, 2): (3, 1),
        (6, 3): (2, 3), (7, 3): (2, 2), (8, 3): (3, 2), (9, 3): (4, 2), (10, 3): (5, 2),
        (6, 4): (2, 4), (7, 4): (2, 3), (8, 4): (3, 3), (9, 4): (4, 3), (10, 4): (5, 3),
        (6, 5): (2, 5), (7, 5): (2, 4), (8, 5): (3, 4), (9, 5): (4, 4), (10, 5): (5, 4),
        (9, 6): (4, 5), (10, 6): (5, 5),
    }  # fmt: skip
    source, target = [[16, 16], [40, 16], [40, 40], [16, 40]], [[48, 16], [80, 24], [80, 48], [48, 40]]
    assert as_dict(dense_mapping(sample_of(sources=source, targets=target), Mapping(kind="polygon"), 8)) == saved


def test_corners_come_from_the_settings_or_the_pairs():
    source, target = [[8.0, 8.0], [24.0, 8.0], [8.0, 40.0]], [[16.0, 16.0], [48.0, 16.0], [16.0, 48.0]]
    by_pairs = dense_mapping(sample_of(sources=source, targets=target), Mapping(kind="polygon"), 8)
    by_settings = dense_mapping(sample_of(), Mapping(kind="polygon", source=source, target=target), 8)
    assert as_dict(by_pairs) == as_dict(by_settings)
    with pytest.raises(ConfigError, match="three or four corners"):
        dense_mapping(sample_of(sources=source[:2], targets=target[:2]), Mapping(kind="polygon"), 8)


def test_regions_come_from_corners_or_from_the_sample():
    regions = Regions(sources=box((64, 96), 8, 8, 32, 40), targets=box((64, 96), 40, 16, 88, 48))
    by_sample = dense_mapping(sample_of(regions=regions), Mapping(kind="region_pair"), 8)
    corners = {
        "source": [[8.0, 8.0], [31.0, 8.0], [31.0, 39.0], [8.0, 39.0]],
        "target": [[40.0, 16.0], [87.0, 16.0], [87.0, 47.0], [40.0, 47.0]],
    }
    by_corners = dense_mapping(sample_of(), Mapping(kind="region_pair", **corners), 8)
    assert as_dict(by_sample) == as_dict(by_corners)
    with pytest.raises(ConfigError, match="region_pair"):
        dense_mapping(sample_of(), Mapping(kind="region_pair"), 8)


# --- regions that samples bring along -------------------------------------------------------------------------------


def test_a_sample_with_cells_of_its_own_maps_them():
    sources = ImagePoints.of([(8, 8), (16, 8), (8, 16)])
    targets = ImagePoints.of([(40, 24), (48, 24), (88, 56)])
    sample = sample_of(regions=Regions(pairs=(sources, targets), cell=(8, 8)))
    pairs = dense_mapping(sample, Mapping(), 8)
    assert as_dict(pairs) == {(5, 3): (1, 1), (6, 3): (2, 1), (11, 7): (1, 2)}
    # Twice as large, each cell is four.
    larger = dense_mapping(sample.resized((128, 192)), Mapping(), 8)
    assert len(larger[0]) == 12
    assert as_dict(larger)[11, 7] == (3, 3)
    # In pixels, each is 64.
    pixels = as_dict(dense_mapping(sample, Mapping(), 1))
    assert len(pixels) == 192 and pixels[47, 31] == (15, 15)


def test_cells_that_shrink_are_kept_where_they_hold_a_centre():
    sources, targets = np.array([[0.0, 0.0], [4.0, 0.0]]), np.array([[8.0, 8.0], [12.0, 8.0]])
    assert as_dict(rectangles(sources, targets, (4.0, 8.0), 8)) == {(1, 1): (0, 0)}


def test_parts_turn_and_move():
    size = (64, 96)
    parts = (
        Region(box(size, 32, 16, 48, 24), task="rotation", anchor=(24.0, 16.0), angle=90.0),
        Region(box(size, 64, 40, 80, 56), task="relocation", source=(70.0, 45.0), target=(78.0, 37.0)),
        Region(box(size, 0, 0, 8, 8)),
    )
    pairs = as_dict(dense_mapping(sample_of(size, regions=Regions(parts=parts)), Mapping(), 8))
    turned_part = as_dict(turned(parts[0].mask[::8, ::8], np.array([3.0, 2.0]), 90.0))
    assert turned_part and pairs == turned_part | {(x + 1, y - 1): (x, y) for x in (8, 9) for y in (5, 6)}


def test_parts_follow_their_pairs():
    size = (64, 96)
    regions = Regions(
        pairs=(ImagePoints.of([(36, 20), (80, 60)]), ImagePoints.of([(52, 28), (90, 60)])),
        parts=(Region(box(size, 32, 16, 48, 32), pairs=(0,)),),
    )
    pairs = as_dict(dense_mapping(sample_of(size, regions=regions), Mapping(), 8))
    assert pairs == {(x + 2, y + 1): (x, y) for x in (4, 5) for y in (2, 3)}


def test_regions_that_say_nothing_leave_it_to_the_points():
    regions = Regions(sources=box((64, 96), 0, 0, 8, 8))
    sample = sample_of(sources=[(40, 24), (72, 24)], targets=[(40, 24), (40, 56)], regions=regions)
    assert as_dict(dense_mapping(sample, Mapping(), 8)) == as_dict(
        dense_mapping(replace(sample, regions=None), Mapping(), 8)
    )
    pair = Regions(sources=box((64, 96), 8, 8, 24, 24), targets=box((64, 96), 40, 8, 56, 24))
    moved_alone = as_dict(dense_mapping(replace(sample, regions=pair), Mapping(), 8))
    assert moved_alone == {(x + 4, y): (x, y) for x in (1, 2) for y in (1, 2)}


# --- the rest -------------------------------------------------------------------------------------------------------


def test_pairs_off_the_grid_are_left_out():
    sources, targets = np.array([[0, 0], [-1, 2], [3, 3], [5, 1]]), np.array([[1, 1], [1, 1], [3, 4], [5, 3]])
    kept = on_grid((sources, targets), (4, 6))
    assert [side.tolist() for side in kept] == [[[0, 0], [5, 1]], [[1, 1], [5, 3]]]
    assert kept[0].dtype == np.int32


def test_points_are_carried_by_the_nearest_source():
    pairs = np.array([[0, 0], [4, 2]]), np.array([[1, 3], [3, 2]])
    found = carried(np.array([[5.0, 6.0], [30.0, 20.0]]), pairs, 8)
    assert found.tolist() == [[13.0, 30.0], [22.0, 20.0]]
    nothing = np.zeros((0, 2), dtype=int)
    assert carried(np.array([[5.0, 6.0]]), (nothing, nothing), 8).tolist() == [[5.0, 6.0]]


@pytest.mark.parametrize(
    "setting",
    [
        {"kind": "any"},
        {"pivot": [1.0]},
        {"source": [[0.0, 0.0]] * 3},
        {"source": [[0.0, 0.0]] * 2, "target": [[0.0, 0.0]] * 2},
        {"target": [[0.0, 0.0, 0.0]] * 3, "source": [[0.0, 0.0]] * 3},
        {"source": [["a", 0.0]] * 3, "target": [[0.0, 0.0]] * 3},
        {"source": [1.0, 2.0, 3.0], "target": [[0.0, 0.0]] * 3},
    ],
)
def test_bad_settings_are_named(setting):
    with pytest.raises(ConfigError, match=f"method.mapping.{next(iter(setting))}"):
        Mapping(**setting)
