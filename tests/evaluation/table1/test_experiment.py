import pyarrow.parquet as pq
from table1_inputs import plan_in

from evaluation.table1 import experiment
from evaluation.table1.experiment import FeaturePlan, run_feature
from evaluation.table1.pictures import open_pictures
from evaluation.table1.shards import merge
from evaluation.table1.warps import KINDS


def test_a_second_run_goes_on_where_the_first_stopped(photos, tmp_path, monkeypatch):
    evaluated = []
    original = experiment.evaluate_picture

    def watched(name, feature, extractor, picture, protocol):
        evaluated.append(picture.name)
        return original(name, feature, extractor, picture, protocol)

    monkeypatch.setattr(experiment, "evaluate_picture", watched)
    pictures = open_pictures(photos)

    def evaluated_by(plan: FeaturePlan, count: int = 3, overwrite: bool = False) -> list[str]:
        evaluated.clear()
        run_feature(plan, plan.feature.load(plan.runtime), pictures[:count], workers=1, overwrite=overwrite)
        return list(evaluated)

    everything = ["chelsea.png", "china.jpg", "gravel.png"]
    plan = plan_in(tmp_path)
    assert evaluated_by(plan, count=2) == everything[:2]
    assert evaluated_by(plan) == everything[2:]
    assert evaluated_by(plan) == []
    plan.shard(pictures[1]).write_bytes(b"cut short")
    assert evaluated_by(plan) == ["china.jpg"]
    assert evaluated_by(plan, overwrite=True) == everything
    assert evaluated_by(plan_in(tmp_path, seed=1)) == everything
    assert evaluated_by(plan_in(tmp_path, seed=1, max_keypoints=500)) == everything
    assert evaluated_by(plan_in(tmp_path, seed=1, max_keypoints=500)) == []


def test_processes_change_nothing(photos, tmp_path):
    pictures = open_pictures(photos)[:2]
    merged = []
    for workers in (1, 2):
        plan = plan_in(tmp_path / str(workers))
        run_feature(plan, plan.feature.load(plan.runtime), pictures, workers=workers, overwrite=False)
        merge([plan.shard(picture) for picture in pictures], tmp_path / f"{workers}.parquet")
        merged.append(pq.read_table(tmp_path / f"{workers}.parquet"))
    assert merged[0].num_rows == 2 * len(KINDS)
    assert merged[0].equals(merged[1])
