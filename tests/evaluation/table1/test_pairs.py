import json

import numpy as np
import pytest
from PIL import Image
from table1_inputs import save_picture

from evaluation.table1.pairs import Protocol, make_pairs, reference_crop, write_pairs
from evaluation.table1.pictures import Picture
from evaluation.table1.warps import KINDS
from rotationbench.errors import ConfigError


def test_a_picture_has_its_pairs_of_each_kind(tmp_path):
    picture = Picture("p", save_picture(tmp_path / "p.png", (300, 400)))
    protocol = Protocol(warps_per_image=2)
    image = picture.read()
    crop = reference_crop(image, protocol)
    pairs = list(make_pairs(image, crop, protocol, picture="p"))
    assert [(pair.warp.kind, pair.repetition) for pair in pairs] == [(kind, r) for kind in KINDS for r in range(2)]
    assert all(pair.image.shape == (*crop.size, 3) for pair in pairs)


def test_pairs_can_be_looked_at(tmp_path):
    picture = Picture("p", save_picture(tmp_path / "p.png", (300, 400)))
    write_pairs(tmp_path / "out", picture, Protocol(warps_per_image=1))
    left, top, width, height = json.loads((tmp_path / "out/p/warps.json").read_text())["crop"]
    reference = np.asarray(Image.open(tmp_path / "out/p/reference.png"))
    np.testing.assert_array_equal(reference, picture.read()[top : top + height, left : left + width])
    for kind in KINDS:
        assert Image.open(tmp_path / f"out/p/{kind}-0.png").size == (width, height)


@pytest.mark.parametrize(
    "change",
    [{"warps_per_image": 0}, {"warps_per_image": 10**9}, {"crop": (20, 640)}, {"crop": (480,)}, {"crop": (10**6, 480)}],
)
def test_impossible_protocols_are_refused(change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        Protocol(**change)
