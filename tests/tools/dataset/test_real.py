import numpy as np
import pytest

from tools.dataset.real import photograph


def test_a_photograph_is_cropped_and_resized(tmp_path):
    from PIL import Image

    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[2:38, 8:52] = 200
    (tmp_path / "package").mkdir()
    Image.fromarray(pixels).save(tmp_path / "package" / "a.png")
    about = {"package": "p", "file": "package/a.png", "crop": [20, 10, 40, 30], "size": [10, 8]}
    assert (photograph(about, [tmp_path]) == np.full((8, 10, 3), 200)).all()
    with pytest.raises(FileNotFoundError, match=r"b\.png of the package p"):
        photograph(about | {"file": "package/b.png"}, [tmp_path])
