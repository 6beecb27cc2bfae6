import json

import numpy as np
from format_layouts import SIZE
from written_samples import sample

from rotationbench.datasets import open_dataset, write_sample
from rotationbench.points import ImagePoints
from rotationbench.sample import DragSample, SampleMeta


def test_written_samples_are_read_back_equal(tmp_path):
    written = sample(
        target=np.full((48, 64, 3), 7, np.uint8),
        pix_step=160,
        meta=SampleMeta(
            split="generated",
            category="utensil",
            licence="CC0-1.0",
            source="a package",
            pivot=(30.0, 30.5),
            angle=-25.5,
            difficulty="easy",
            object_mask=np.eye(48, 64, dtype=bool),
            object_mask_target=np.eye(48, 64, k=3, dtype=bool),
            extra={"kind": "whole", "layers": [1, 2]},
        ),
    )
    write_sample(tmp_path / "cup", written)
    read = open_dataset(tmp_path)["cup"]
    assert read.digest == written.digest
    assert (read.target == written.target).all()
    assert read.pix_step == 160
    for key in ("split", "category", "licence", "source", "pivot", "angle", "difficulty", "extra"):
        assert getattr(read.meta, key) == getattr(written.meta, key)
    assert (read.meta.object_mask == written.meta.object_mask).all()
    assert (read.meta.object_mask_target == written.meta.object_mask_target).all()


def test_writing_again_leaves_nothing_of_the_sample_before(tmp_path):
    meta = SampleMeta(category="cup", object_mask=np.ones((48, 64), bool))
    write_sample(tmp_path / "cup", sample(target=np.zeros((48, 64, 3), np.uint8), meta=meta))
    write_sample(tmp_path / "cup", sample(mask=None))
    assert sorted(path.name for path in (tmp_path / "cup").iterdir()) == ["config.json", "image.png"]
    assert open_dataset(tmp_path)["cup"].mask is None


def test_reading_does_not_need_writing(tmp_path):
    sample = DragSample(
        "cat", np.zeros((*SIZE, 3), np.uint8), "", ImagePoints.of([(1, 2)]), ImagePoints.of([(3.5, 4.25)])
    )
    write_sample(tmp_path / "cat", sample)
    assert json.loads((tmp_path / "cat" / "config.json").read_text())["point"] == [[1, 2], [3.5, 4.25]]
