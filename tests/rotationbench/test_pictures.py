import numpy as np
import pytest
from PIL import Image

from rotationbench.pictures import PictureError, open_picture, picture_size, read_rgb


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP", "PPM", "TIFF"])
def test_pictures_of_known_formats_are_read(tmp_path, form):
    picture = np.full((40, 50, 3), 200, np.uint8)
    Image.fromarray(picture).save(tmp_path / "a", form)
    assert np.abs(read_rgb(tmp_path / "a").astype(int) - 200).max() <= 2
    assert picture_size(tmp_path / "a") == (40, 50)
    assert open_picture(tmp_path / "a").format == form
    for limits in ({"smallest": 41}, {"largest": 49}):
        with pytest.raises(PictureError, match="expected sides of"):
            open_picture(tmp_path / "a", **limits)


def test_a_picture_whose_end_is_missing(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:1000])
    assert picture_size(tmp_path / "a.png") == (40, 50)
    with pytest.raises(PictureError, match="expected a whole picture"):
        read_rgb(tmp_path / "a.png")
