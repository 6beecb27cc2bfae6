import math

import cv2
import numpy as np
import pytest
from skimage.transform import ProjectiveTransform, warp

from evaluation.table1.warps import (
    BORDER,
    CELL,
    KINDS,
    Crop,
    WarpRanges,
    centre_crop,
    draw_warp,
    stays_inside,
    transform,
    warp_crop,
)
from rotationbench.errors import ConfigError

SIZES = [(512, 512), (427, 640), (640, 427), (300, 451), (821, 1003), (2000, 3000)]
EXTREMES = WarpRanges(scaling=(0.5, 2.0), rotation=(-180, 180), perspective=0.5, translation=0.4)


def every_pixel_edge(crop: Crop) -> np.ndarray:
    """Outer corners of all pixels on the crop's rim, `(N, 2)`."""
    x, y = np.arange(crop.width + 1) - 0.5, np.arange(crop.height + 1) - 0.5
    rim = [np.column_stack([x, np.full_like(x, edge)]) for edge in (y[0], y[-1])]
    rim += [np.column_stack([np.full_like(y, edge), y]) for edge in (x[0], x[-1])]
    return np.concatenate(rim)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("ranges", [WarpRanges(), EXTREMES, WarpRanges(rotation=(20, 50))])
def test_no_warp_shows_the_border(size, ranges):
    crop = centre_crop(size, (480, 640), ranges)
    assert crop is not None
    for kind in KINDS:
        for repetition in range(60):
            homography = draw_warp(kind, crop, ranges, seed=3, picture="p", repetition=repetition).homography
            shown = ProjectiveTransform(homography).inverse(every_pixel_edge(crop)) + np.array([crop.left, crop.top])
            assert (shown >= 0).all()
            assert (shown <= [size[1] - 1, size[0] - 1]).all()


def test_the_border_of_a_warped_picture_stays_out_of_sight():
    frame = np.zeros((427, 640, 3), dtype=np.uint8)
    cv2.rectangle(frame, (0, 0), (639, 426), (255, 255, 255), 1)
    crop = centre_crop((427, 640), (480, 640), WarpRanges())
    for kind in KINDS:
        for repetition in range(10):
            drawn = draw_warp(kind, crop, WarpRanges(), seed=0, picture="p", repetition=repetition)
            assert warp_crop(frame, crop, drawn.homography).max() == 0


def test_the_crop_is_as_large_as_the_ranges_allow():
    crop = centre_crop((512, 512), (480, 640), WarpRanges())
    larger = Crop(crop.left - CELL, crop.top - CELL, crop.height + 2 * CELL, crop.width + 2 * CELL)
    extreme = draw_warp(
        "scaling", larger, WarpRanges(scaling=(2 / 3, 2 / 3)), seed=0, picture="p", repetition=0
    ).homography
    assert not stays_inside((512, 512), larger, extreme)
    assert crop.width / crop.height == pytest.approx(640 / 480, rel=0.03)
    assert crop.width % CELL == crop.height % CELL == 0
    assert centre_crop((2000, 3000), (480, 640), WarpRanges()) == Crop(1180, 760, 480, 640)


def test_a_picture_too_small_for_the_ranges_has_no_crop():
    assert centre_crop((120, 120), (480, 640), WarpRanges()) is None
    assert centre_crop((2 * BORDER, 2 * BORDER), (480, 640), WarpRanges()) is None


def test_a_warp_over_the_border_is_refused():
    picture = np.zeros((200, 200, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="200 × 200"):
        warp_crop(picture, Crop(20, 20, 160, 160), np.diag([0.5, 0.5, 1.0]))


@pytest.mark.parametrize("kind", KINDS)
def test_warps_depend_on_picture_kind_and_repetition_alone(kind):
    crop = centre_crop((512, 512), (480, 640), WarpRanges())

    def homography(**changes):
        arguments = {"seed": 0, "picture": "a", "repetition": 2} | changes
        return draw_warp(kind, crop, WarpRanges(), **arguments).homography

    first = homography()
    homography(repetition=5)
    np.testing.assert_array_equal(homography(), first)
    for change in ({"seed": 1}, {"picture": "b"}, {"repetition": 3}):
        assert not np.allclose(homography(**change), first)


def test_each_kind_is_pure_and_fills_its_range():
    ranges = WarpRanges()
    crop = Crop(100, 100, 480, 640)
    middle = np.array([[319.5, 239.5]])
    drawn = {
        kind: [draw_warp(kind, crop, ranges, seed=0, picture="p", repetition=r) for r in range(400)] for kind in KINDS
    }
    for kind in ("scaling", "rotation", "perspective"):
        for warp_ in drawn[kind]:
            np.testing.assert_allclose(transform(warp_.homography, middle), middle, atol=1e-9)

    factors = np.array([warp_.amount for warp_ in drawn["scaling"]])
    assert factors.min() == pytest.approx(2 / 3, rel=0.02)
    assert factors.max() == pytest.approx(1.5, rel=0.02)
    assert np.median(factors) == pytest.approx(1, abs=0.08)
    np.testing.assert_allclose(drawn["scaling"][0].homography[:2, :2], np.eye(2) * factors[0])

    angles = np.array([warp_.amount for warp_ in drawn["rotation"]])
    assert np.histogram(angles, bins=8, range=(-180, 180))[0].min() > 25
    for warp_ in drawn["rotation"][:5]:
        (right,) = transform(warp_.homography, middle + np.array([10, 0])) - middle
        assert math.degrees(math.atan2(right[1], right[0])) == pytest.approx(warp_.amount)
        assert np.hypot(*right) == pytest.approx(10)

    for warp_ in drawn["perspective"]:
        corners = crop.corners + np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
        inverse = np.linalg.inv(warp_.homography)
        inverse /= inverse @ [319.5, 239.5, 1] @ [0, 0, 1]
        denominators = np.column_stack([corners, np.ones(4)]) @ inverse[2]
        assert np.abs(denominators - 1).max() == pytest.approx(warp_.amount)

    shifts = np.array([warp_.homography[:2, 2] for warp_ in drawn["translation"]])
    assert np.abs(shifts).max(axis=0) == pytest.approx([160, 120], rel=0.02)
    assert drawn["translation"][0].amount == pytest.approx(np.hypot(*shifts[0]))


@pytest.mark.parametrize("kind", KINDS)
def test_the_homography_maps_pixel_centres_to_a_hundredth_of_a_pixel(kind):
    """Blobs drawn analytically at grid points are found, in the warped crop, where the homography says."""
    size, sigma = 400, 4.0
    ranges = WarpRanges(scaling=(0.8, 1.3), perspective=0.2)
    crop = centre_crop((size, size), (480, 640), ranges)
    grid = np.stack(np.meshgrid(np.arange(20, size, 40) + 0.3, np.arange(20, size, 40) - 0.2), axis=-1).reshape(-1, 2)
    y, x = np.mgrid[:size, :size]
    picture = np.zeros((size, size))
    for cx, cy in grid:
        picture += np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2))
    picture = np.repeat(np.rint(250 * np.minimum(picture, 1)).astype(np.uint8)[:, :, None], 3, axis=2)
    for repetition in range(3):
        homography = draw_warp(kind, crop, ranges, seed=1, picture="grid", repetition=repetition).homography
        warped = warp_crop(picture, crop, homography)[:, :, 0].astype(float)
        expected = transform(homography, grid - [crop.left, crop.top])
        errors = []
        for px, py in expected:
            column, row, radius = round(px), round(py), 12
            if not (radius <= column < crop.width - radius and radius <= row < crop.height - radius):
                continue
            # The centroid over a weight that itself falls off smoothly around the expected place is unbiased there.
            wy, wx = np.mgrid[row - radius : row + radius + 1, column - radius : column + radius + 1]
            weight = warped[wy, wx] * np.exp(-((wx - px) ** 2 + (wy - py) ** 2) / (2 * 3.0**2))
            errors.append([(weight * (wx - px)).sum() / weight.sum(), (weight * (wy - py)).sum() / weight.sum()])
        assert len(errors) >= 4
        # A projective map shifts the blobs' centroids a little themselves; a wrong pixel centre shifts them by 0.2 px.
        assert np.abs(np.mean(errors, axis=0)).max() < (0.03 if kind == "perspective" else 0.01)


def test_warping_agrees_with_another_library():
    random = np.random.default_rng(0)
    picture = cv2.GaussianBlur(random.integers(0, 256, (300, 300, 3), dtype=np.uint8), (0, 0), 3)
    picture = cv2.normalize(picture, None, 0, 255, cv2.NORM_MINMAX)
    ranges = WarpRanges(scaling=(0.9, 1.4))
    crop = centre_crop((300, 300), (480, 640), ranges)
    for kind in KINDS:
        homography = draw_warp(kind, crop, ranges, seed=0, picture="p", repetition=0).homography
        to_picture = np.array([[1, 0, crop.left], [0, 1, crop.top], [0, 0, 1.0]]) @ np.linalg.inv(homography)
        expected = warp(picture, ProjectiveTransform(to_picture), output_shape=crop.size, order=3, preserve_range=True)
        assert np.abs(warp_crop(picture, crop, homography) - expected).mean() < 1.5


def test_the_identity_gives_the_crop_itself():
    picture = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (200, 240, 3), dtype=np.uint8), (0, 0), 2)
    crop = Crop(40, 30, 96, 128)
    assert np.abs(warp_crop(picture, crop, np.eye(3)).astype(int) - crop.cut(picture)).max() <= 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("scaling", (0, 1)),
        ("scaling", (2, 1)),
        ("rotation", (-200, 0)),
        ("rotation", (10, 5)),
        ("perspective", 1.0),
        ("translation", -0.1),
    ],
)
def test_impossible_ranges_are_named(name, value):
    with pytest.raises(ConfigError, match=rf"warps\.{name}"):
        WarpRanges(**{name: value})


def test_points_beyond_infinity_are_infinite():
    homography = np.array([[1, 0, 0], [0, 1, 0], [-0.01, 0, 1.0]])
    mapped = transform(homography, np.array([[50.0, 10.0], [100.0, 10.0], [200.0, 10.0]]))
    np.testing.assert_allclose(mapped[0], [100, 20])
    assert np.isinf(mapped[1:]).all()


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="shear"):
        draw_warp("shear", Crop(0, 0, 64, 64), WarpRanges(), seed=0, picture="p", repetition=0)
