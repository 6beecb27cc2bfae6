import numpy as np
from field_examples import half
from format_layouts import gooddrag, half_mask
from PIL import Image

from rotationbench.datasets import open_dataset


def test_gooddrag_masks_count_above_zero(tmp_path):
    gooddrag(tmp_path / "cat")
    Image.fromarray(half_mask() // 255).save(tmp_path / "cat" / "mask.png")
    assert (open_dataset(tmp_path)[0].mask == (half_mask() > 0)).all()


def test_gooddrag_reads_soft_and_jpeg_masks_above_half(tmp_path):
    folder = tmp_path / "cat_1"
    folder.mkdir()
    Image.new("RGB", (96, 64)).save(folder / "original.jpg")
    (folder / "points.json").write_text('{"points": [[1, 2], [30, 4]]}')
    half(255, 0, "L").save(folder / "mask.jpg", quality=60)
    assert (open_dataset(tmp_path)[0].mask == (np.arange(96) < 48)).all()
    (folder / "mask.jpg").unlink()
    half(1, 0, "L").save(folder / "mask.png")
    assert (open_dataset(tmp_path)[0].mask == (np.arange(96) < 48)).all()
