from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from rotationbench.datasets import write_sample
from rotationbench.points import ImagePoints
from rotationbench.sample import DragSample, SampleMeta
from tools.dataset import page


def turned_sample(name, split):
    image = np.random.default_rng(1).integers(0, 256, (64, 80, 3), np.uint8)
    mask = np.zeros((64, 80), bool)
    mask[10:50, 10:70] = True
    meta = SampleMeta(split=split, category="utensil", licence="CC0-1.0", pivot=(40.0, 30.0), angle=90.0)
    sources, targets = ImagePoints.of([(50, 30), (40, 30)]), ImagePoints.of([(40, 40), (40, 30)])
    return DragSample(name, image, "a cup", sources, targets, mask, image, meta)


@pytest.fixture
def root(tmp_path):
    for name, split in (("cup", "real"), ("spoon", "generated"), ("fish", "in_domain")):
        write_sample(tmp_path / "data" / name, turned_sample(name, split))
    return tmp_path / "data"


def test_the_page_is_written_by_one_command(root, tmp_path):
    assert page.main([str(root), "--output", str(tmp_path / "page")]) == 0
    text = (tmp_path / "page" / "README.md").read_text()
    for split in ("real", "generated", "in_domain"):
        assert f"| {split} | 1 | 1 | 90 | 90 | 90 |" in text
    assert "CC0-1.0" in text
    for name in ("statistics.png", "samples-real.jpg", "samples-generated.jpg", "samples-in_domain.jpg"):
        assert name in text
        assert np.asarray(Image.open(tmp_path / "page" / name)).std() > 5


def test_a_page_about_samples_that_say_nothing_about_themselves(tmp_path):
    for name in ("a", "b"):
        sample = replace(turned_sample(name, None), meta=SampleMeta(), mask=None, target=None)
        write_sample(tmp_path / "data" / name, sample)
    assert page.main([str(tmp_path / "data"), "--output", str(tmp_path / "page")]) == 0
    assert "| unknown | 2 | 2 |" in (tmp_path / "page" / "README.md").read_text()
    assert (tmp_path / "page" / "samples-unknown.jpg").is_file()


def test_a_page_needs_samples(tmp_path, capsys):
    assert page.main([str(tmp_path), "--output", str(tmp_path / "page")]) == 1
    assert "expected samples" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
