from dataclasses import replace

import numpy as np
import pytest

from rotationbench.drawing import BACKGROUND, HANDLE, PATH, PIVOT, TARGET, contact_sheet, draw_sample
from rotationbench.points import ImagePoints
from rotationbench.sample import DragSample, SampleMeta


def sample(height=300, width=600, grey=128):
    mask = np.zeros((height, width), bool)
    mask[50:250, 100:500] = True
    return DragSample(
        "cup",
        np.full((height, width, 3), grey, np.uint8),
        "",
        ImagePoints.of([(200, 100)]),
        ImagePoints.of([(300, 200)]),
        mask,
        meta=SampleMeta(pivot=(200.0, 200.0)),
    )


def near(figure, point, colour, radius=8):
    x, y = point
    patch = figure[y - radius : y + radius + 1, x - radius : x + radius + 1].astype(int)
    return (np.abs(patch - colour).max(axis=2) < 40).any()


def test_marks_lie_where_the_points_are():
    figure = draw_sample(sample())
    assert figure.shape == (300, 600, 3)
    assert figure.dtype == np.uint8
    for point, colour in (((200, 100), HANDLE), ((300, 200), TARGET), ((200, 200), PIVOT)):
        assert (figure[point[1], point[0]] == colour).all()
    # On the quarter circle about the pivot, and on the straight line.
    assert near(figure, (round(200 + 100 / np.sqrt(2)), round(200 - 100 / np.sqrt(2))), PIVOT)
    assert near(figure, (250, 150), TARGET, radius=2)


def test_what_may_not_change_is_darker():
    figure = draw_sample(sample())
    assert figure[20, 20].max() < 70
    assert (figure[240, 480] == 128).all()
    assert (draw_sample(replace(sample(), mask=None))[20, 20] == 128).all()


def test_a_pivot_pair_comes_before_metadata_and_an_axis_before_both():
    with_pair = replace(
        sample(), sources=ImagePoints.of([(200, 100), (400, 150)]), targets=ImagePoints.of([(300, 200), (400, 150)])
    )
    figure = draw_sample(with_pair)
    assert near(figure, (400, 150), PIVOT)
    assert not near(figure, (200, 200), PIVOT)
    figure = draw_sample(with_pair, axis=ImagePoints.of([(450, 100)]))
    assert near(figure, (450, 100), PIVOT)
    assert not near(figure, (400, 150), PIVOT)


def test_a_trajectory_may_hold_all_pairs_or_the_moving_ones():
    with_pair = replace(
        sample(), sources=ImagePoints.of([(400, 150), (200, 100)]), targets=ImagePoints.of([(400, 150), (300, 200)])
    )
    moving = [ImagePoints.of([point]) for point in ((200, 100), (260, 100), (300, 130))]
    every = [ImagePoints.of([(400, 150), *points.xy.tolist()]) for points in moving]
    figures = [draw_sample(with_pair, trajectory=trajectory) for trajectory in (moving, every)]
    assert (figures[0] == figures[1]).all()
    assert near(figures[0], (240, 100), PATH, radius=3)
    assert (draw_sample(with_pair, trajectory=[]) == draw_sample(with_pair)).all()


@pytest.mark.parametrize(("side", "factor"), [(32, 16), (128, 4), (300, 2), (512, 1), (900, 1)])
def test_small_pictures_are_enlarged(side, factor):
    small = DragSample(
        "dot", np.zeros((side, side, 3), np.uint8), "", ImagePoints.of([(8, 8)]), ImagePoints.of([(24, 8)])
    )
    figure = draw_sample(small)
    assert figure.shape == (factor * side, factor * side, 3)
    middle = round((8 + 0.5) * factor - 0.5)
    assert (figure[middle, middle] == HANDLE).all()


def test_the_picture_itself_is_left_alone():
    before = sample()
    draw_sample(before)
    assert (before.image == 128).all()


def test_points_may_coincide_and_lie_on_the_border():
    edge = replace(
        sample(), sources=ImagePoints.of([(0, 0), (5, 5)]), targets=ImagePoints.of([(599, 299), (5, 5)]), mask=None
    )
    assert draw_sample(edge).shape == (300, 600, 3)


def test_a_sheet_holds_every_picture_and_room_for_labels():
    colours = np.arange(1, 6) * 40
    pictures = [np.full((30 + 10 * index, 50, 3), colour, np.uint8) for index, colour in enumerate(colours)]
    sheet = contact_sheet([pictures[:2], pictures[2:]], ["first", "second"], ["source", "one", "two"])
    for picture in pictures:
        assert (sheet == picture[0, 0]).all(axis=2).sum() >= picture.shape[0] * picture.shape[1]
    plain = contact_sheet([pictures[:2], pictures[2:]])
    assert plain.shape[1] == sheet.shape[1]
    assert plain.shape[0] < sheet.shape[0]
    assert (plain[0] == BACKGROUND).all()


def test_long_labels_are_cut():
    picture = np.zeros((20, 40, 3), np.uint8)
    sheets = [contact_sheet([[picture, picture]], column_labels=[text, ""]) for text in ("x" * 500, "x" * 5)]
    assert sheets[0].shape == sheets[1].shape
    # Nothing is written above the second column.
    assert (sheets[0][:10, 60:] == BACKGROUND).all()


@pytest.mark.parametrize(
    ("rows", "labels"), [([], {}), ([[]], {}), ([[1]], {"row_labels": []}), ([[1]], {"column_labels": ["a", "b"]})]
)
def test_sheets_without_pictures_or_with_other_labels_are_refused(rows, labels):
    pictures = [[np.zeros((8, 8, 3), np.uint8) for _ in row] for row in rows]
    with pytest.raises(ValueError, match="Expected"):
        contact_sheet(pictures, **labels)
