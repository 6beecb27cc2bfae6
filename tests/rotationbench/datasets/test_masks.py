import shutil

import numpy as np
import pytest
from field_examples import FORMATS, count, expectations, half, whole
from PIL import Image

from rotationbench.datasets import open_dataset
from rotationbench.errors import DatasetError


@pytest.mark.parametrize(("variant", "expected"), expectations("masks")["variants"].items())
def test_masks_as_the_tools_write_them(variant, expected, caplog):
    dataset = open_dataset(FORMATS / "masks", check=False)
    if "refused" in expected:
        with pytest.raises(DatasetError, match=rf"{variant}/mask\.\w+: expected"):
            dataset[variant]
        return
    sample = dataset[variant]
    assert count(sample.mask) == expected["mask_pixels"]
    assert whole(sample.sources) == expectations("masks")["sources"]
    assert (variant in caplog.text) == (variant in ("all_black", "jpg", "soft"))


def masked(tmp_path, mask, name="mask.png", **options):
    shutil.copytree(FORMATS / "masks" / "png_0_255", tmp_path / "s")
    (tmp_path / "s" / "mask.png").unlink()
    mask.save(tmp_path / "s" / name, **options)
    return open_dataset(tmp_path)[0].mask


@pytest.mark.parametrize(
    "mask",
    [
        half((0, 0, 255), (0, 0, 0), "RGB"),
        half((255, 0, 0), (0, 0, 0), "RGB"),
        half((9, 9, 9, 255), (9, 9, 9, 0), "RGBA"),
        half((255, 0, 0, 200), (0, 0, 0, 0), "RGBA"),
        half((255, 255, 255, 128), (0, 0, 0, 128), "RGBA"),
        half((255, 255), (255, 0), "LA"),
        half(1, 0, "1"),
        half(65535, 0, "I;16"),
    ],
)
def test_masks_in_any_mode(tmp_path, mask):
    assert (masked(tmp_path, mask) == (np.arange(96) < 48)).all()


def test_a_picture_with_a_hole_is_no_mask(tmp_path):
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (64, 96, 4), np.uint8)
    picture[..., 3] = 255
    picture[20:40, 20:40, 3] = 0
    with pytest.raises(
        DatasetError, match="opaque or painted in one colour, got a picture of several colours with holes"
    ):
        masked(tmp_path, Image.fromarray(picture))
