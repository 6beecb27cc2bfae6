"""The small examples of the field's data sets, in each layout, and what is known of them."""

import json
from pathlib import Path

from PIL import Image

from rotationbench.datasets import open_dataset

FORMATS = Path(__file__).parent / "rotationbench" / "datasets" / "formats"
FIELD = ("vfd_bench", "red_bench", "geobench", "regiondrag", "inpaint4drag")


def expectations(form):
    return json.loads((FORMATS / form / "expected.json").read_text())


def opened(form):
    return open_dataset(FORMATS / form, check=False)


def count(mask):
    return None if mask is None else int(mask.sum())


def whole(points):
    return [list(map(int, point)) for point in points.xy.tolist()]


def half(inside, outside, mode):
    picture = Image.new(mode, (96, 64), outside)
    picture.paste(inside, (0, 0, 48, 64))
    return picture
