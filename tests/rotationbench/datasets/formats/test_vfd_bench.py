import shutil

import numpy as np
import pytest
from field_examples import FORMATS, expectations, opened
from PIL import Image

from rotationbench.datasets import open_dataset, validate
from rotationbench.datasets.formats.vfd_bench import described_by_name
from rotationbench.errors import DatasetError


def test_a_later_frame_is_a_reference_and_no_exact_result():
    for key, expected in expectations("vfd_bench").items():
        sample = opened("vfd_bench")[key.rsplit("/", 1)[-1]]
        reference = expected["reference"]
        if reference is None:
            assert sample.reference is None
            continue
        assert sample.reference.mean() == pytest.approx(reference["mean"], abs=1e-6)
        off = np.abs(sample.reference.astype(int) - sample.image).max(axis=2) > 4
        share = (off & ~sample.mask).sum() / (~sample.mask).sum()
        assert share == pytest.approx(reference["share_off_by_more_than_4_outside_the_mask"], abs=1e-4)
        assert len(sample.meta.extra["flowdrag_points"]) == 2 * expected["flow_points"]["pairs"]
        assert (sample.meta.source, sample.meta.extra["kind"]) == (expected["source"], expected["kind"])
    assert validate.problems_of(FORMATS / "vfd_bench")[1] == []


@pytest.mark.parametrize(
    ("name", "source", "kind", "failed"),
    [
        ("Pexels_100001_Box_head_rotation_0", "Pexels", "head_rotation", False),
        ("Pexels_123_cat_head_rotation_2_fail", "Pexels", "head_rotation", True),
        ("Pexels_123_Cup_move_fail_1", "Pexels", "move", True),
        ("TVR_Human_hand_1_pose_change", "TVR", "pose_change", False),
        ("Pexels_123_turn", "Pexels", "turn", False),
        ("alone", "alone", None, False),
    ],
)
def test_names_say_where_a_video_is_from_and_what_moves(name, source, kind, failed):
    meta = described_by_name(name)
    if kind is None:
        assert meta.source is None and meta.extra == {}
    else:
        assert (meta.source, meta.extra["kind"]) == (source, kind)
    assert meta.extra.get("marked_as_failure", False) == failed


def test_a_frame_without_its_points_is_not_taken_for_another_format(tmp_path):
    shutil.copytree(FORMATS / "vfd_bench" / "no_gt", tmp_path / "data")
    folder = tmp_path / "data" / "Pexels_100002_Cup_move_0"
    (folder / "points.json").unlink()
    with pytest.raises(DatasetError, match=r"points\.json: expected a file, found none"):
        open_dataset(tmp_path / "data")
    Image.new("RGB", (64, 64)).save(folder / "original.png")
    assert open_dataset(tmp_path / "data", check=False).form.name == "vfd_bench"


def test_a_picture_beside_samples_that_lacks_everything_else_is_not_passed_over(tmp_path):
    shutil.copytree(FORMATS / "vfd_bench" / "no_gt", tmp_path / "data")
    (tmp_path / "data" / "lost").mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "data" / "lost" / "input.png")
    with pytest.raises(DatasetError, match=r"lost/points\.json: expected a file, found none"):
        open_dataset(tmp_path / "data")
