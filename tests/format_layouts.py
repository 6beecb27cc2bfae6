"""Small data sets in each of the older layouts, and what is said of one that is faulty."""

import json
import pickle

import numpy as np
import pytest
from PIL import Image

from rotationbench.datasets import open_dataset
from rotationbench.errors import DatasetError

SIZE = (48, 64)


def picture(path, value=120, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, SIZE[::-1], (value,) * 3 if mode == "RGB" else value).save(path)


def half_mask():
    mask = np.zeros(SIZE, np.uint8)
    mask[:, 20:] = 255
    return mask


def dragbench_dr(folder, content=None, protocol=4):
    picture(folder / "original_image.png")
    meta = {"prompt": "a cat", "points": [[10, 12], [20, 14], [30, 30], [30, 30]], "mask": half_mask()}
    (folder / "meta_data.pkl").write_bytes(pickle.dumps(meta if content is None else content, protocol=protocol))


def dragbench_sr(folder):
    picture(folder / "origin_image.png")
    Image.fromarray(half_mask()).save(folder / "mask.png")
    config = {"prompt": "a cat", "source": [[10, 12], [30, 30]], "target": [[20, 14], [30, 30]]}
    (folder / "prompt.json").write_text(json.dumps(config))


def gooddrag(folder, ending="jpg"):
    picture(folder / f"original.{ending}")
    Image.fromarray(half_mask()).save(folder / "mask.png")
    (folder / "points.json").write_text('{"points": [[10, 12], [20, 14], [30, 30], [30, 30]]}')


def imagefolder(root, **changes):
    picture(root / "images" / "cat.png")
    Image.fromarray(half_mask()).save(root / "mask.png")
    fields = {
        "file_name": "images/cat.png",
        "mask_file_name": "mask.png",
        "prompt": "a cat",
        "point": [[10, 12], [20, 14], [30, 30], [30, 30]],
    }
    (root / "metadata.jsonl").write_text(json.dumps(fields | changes) + "\n\n")


LAYOUTS = {
    "dragbench_dr": lambda root: dragbench_dr(root / "animals" / "cat"),
    "dragbench_sr": lambda root: dragbench_sr(root / "animals" / "cat"),
    "gooddrag": lambda root: gooddrag(root / "cat"),
    "imagefolder": imagefolder,
}


def the_problem(root, form="auto"):
    with pytest.raises(DatasetError) as caught:
        open_dataset(root, form)
    (problem,) = caught.value.problems
    return problem
