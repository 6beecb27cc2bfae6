import os

import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image
from table1_inputs import plan_in

from evaluation.table1.experiment import run_feature
from evaluation.table1.pictures import open_pictures
from evaluation.table1.shards import merge, read_shard
from evaluation.table1.warps import KINDS
from rotationbench.config import project_root


@pytest.mark.parametrize("damage", ["cut short", "flipped", "emptied", "deleted", "another file"])
def test_a_broken_shard_is_made_again(photos, tmp_path, damage):
    """A flipped byte among the values leaves a file that still names its schema."""
    picture = open_pictures(photos)[0]
    plan = plan_in(tmp_path)
    run_feature(plan, plan.feature.load(plan.runtime), [picture], workers=1, overwrite=False)
    shard = plan.shard(picture)
    content = shard.read_bytes()
    match damage:
        case "cut short":
            shard.write_bytes(content[: len(content) // 2])
        case "flipped":
            flipped = bytearray(content)
            flipped[content.index(b"chelsea.png")] ^= 1
            shard.write_bytes(bytes(flipped))
        case "emptied":
            shard.write_bytes(b"")
        case "deleted":
            shard.unlink()
        case "another file":
            pd.DataFrame({"feature": ["sift"]}).to_parquet(shard)
    assert read_shard(shard) is None
    run_feature(plan, plan.feature.load(plan.runtime), [picture], workers=1, overwrite=False)
    table, origin = read_shard(shard)
    assert origin == plan.origin(picture, plan.feature.load(plan.runtime))
    assert table.num_rows == len(KINDS)
    assert [path.name for path in tmp_path.iterdir()] == ["chelsea.png.parquet"]


def test_a_shard_that_cannot_be_written_leaves_the_old_one(photos, tmp_path, monkeypatch):
    picture = open_pictures(photos)[0]
    plan = plan_in(tmp_path)
    run_feature(plan, plan.feature.load(plan.runtime), [picture], workers=1, overwrite=False)
    before = plan.shard(picture).read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        run_feature(plan, plan.feature.load(plan.runtime), [picture], workers=1, overwrite=True)
    assert plan.shard(picture).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["chelsea.png.parquet"]


def test_kind_18_names_that_differ_in_their_folder_have_their_own_rows(tmp_path):
    for name in ("x/y.png", "x-y.png", "x%2Fy.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        with Image.open(project_root() / "data/photos/chelsea.png") as image:
            image.convert("RGB").resize((330, 240)).save(tmp_path / name)
    pictures = open_pictures(tmp_path)
    plan = plan_in(tmp_path / "results")
    run_feature(plan, plan.feature.load(plan.runtime), pictures, workers=1, overwrite=False)
    merge([plan.shard(picture) for picture in pictures], tmp_path / "pairs.parquet")
    rows = pq.read_table(tmp_path / "pairs.parquet").to_pandas()
    assert rows["picture"].value_counts().to_dict() == dict.fromkeys(["x/y.png", "x-y.png", "x%2Fy.png"], len(KINDS))
    assert rows["amount"].nunique() == len(rows)
