import errno
import os
import subprocess
import sys
from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf
from PIL import Image
from tests_helpers import compose_config

from evaluation.table1 import task
from evaluation.table1.task import build_feature, run
from evaluation.table1.warps import KINDS, Crop, WarpRanges, draw_warp
from rotationbench.config import project_root
from rotationbench.errors import ConfigError, DatasetError, ResultsError

TINY = "tests/golden/tinyA"


def arguments(photos: Path, results: Path, *more: str) -> list[str]:
    return [
        "task=table1",
        f"data.root={photos}",
        f"results_dir={results}",
        "superpoint=/nowhere/at/all",
        "warps_per_image=2",
        "workers=1",
        "device=cpu",
        *more,
    ]


@pytest.fixture(scope="module")
def sift_results(photos, tmp_path_factory) -> Path:
    results = tmp_path_factory.mktemp("sift")
    assert run(compose_config(*arguments(photos, results, "features=[sift]", "write_pairs=true", "worst=2"))) == 0
    return results / "table1"


def test_a_run_leaves_the_pairs_the_table_and_the_figures(sift_results):
    pairs = pd.read_parquet(sift_results / "pairs.parquet")
    assert len(pairs) == 3 * len(KINDS) * 2
    assert set(pairs["picture"]) == {"china.jpg", "gravel.png", "chelsea.png"}
    table = pd.read_csv(sift_results / "table1.csv")
    assert list(table.columns) == ["feature", *KINDS, "pairs"]
    assert table["pairs"].tolist() == [24]
    correct = (pairs["corner_error"] <= 3).groupby(pairs["kind"]).mean() * 100
    for kind in KINDS:
        assert table.loc[0, kind] == pytest.approx(correct[kind], abs=1e-3)
    for name in ("table1.md", "table1.tex", "accuracy.csv"):
        assert (sift_results / name).stat().st_size > 0
    for name in ("rotation.png", "amounts.png", "worst-sift.png"):
        assert cv2.imread(str(sift_results / name)).std() > 5
    assert len(list((sift_results / "pictures/china.jpg").glob("*.png"))) == 1 + len(KINDS) * 2


def test_sift_gets_nearly_everything_right_on_photographs(sift_results):
    assert (pd.read_parquet(sift_results / "pairs.parquet")["corner_error"] <= 3).mean() >= 0.95


def test_rows_hold_the_homographies_behind_the_error(sift_results):
    row = pd.read_parquet(sift_results / "pairs.parquet").iloc[5]
    crop = Crop(0, 0, row["height"], row["width"])
    true, found = (row[name].reshape(3, 3) for name in ("homography_true", "homography"))
    drawn = draw_warp(
        row["kind"], crop, WarpRanges(scaling=(0.6667, 1.5), perspective=0.3333),
        seed=0, picture=row["picture"], repetition=int(row["repetition"]),
    )  # fmt: skip
    np.testing.assert_allclose(true, drawn.homography, atol=1e-9)
    corners = crop.corners[:, None].astype(np.float64)
    distance = cv2.perspectiveTransform(corners, found) - cv2.perspectiveTransform(corners, true)
    assert row["corner_error"] == pytest.approx(np.linalg.norm(distance, axis=2).mean())


def test_kind_18_a_run_with_other_features_keeps_earlier_rows(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(task, "save", lambda figure, path: plt.close(figure))
    quick = ["warps_per_image=1", "worst=0"]
    for features in ("sift", "rootsift"):
        assert run(compose_config(*arguments(photos, tmp_path, f"features=[{features}]", *quick))) == 0
    results = tmp_path / "table1"
    assert pd.read_csv(results / "table1.csv")["feature"].tolist() == ["rootsift", "sift"]
    assert pd.read_parquet(results / "pairs.parquet")["feature"].value_counts().to_dict() == {
        "sift": 12,
        "rootsift": 12,
    }
    assert "- sift: from an earlier run." in (results / "table1.md").read_text()
    # Of other pictures, or of other warps, they do not belong in the same table; they stay where they are.
    assert run(compose_config(*arguments(photos, tmp_path, "features=[rootsift]", *quick, "limit=2"))) == 0
    assert pd.read_csv(results / "table1.csv")["pairs"].tolist() == [8, 8]
    assert run(compose_config(*arguments(photos, tmp_path, "features=[rootsift]", *quick, "seed=1"))) == 0
    assert pd.read_csv(results / "table1.csv")["feature"].tolist() == ["rootsift"]
    assert len(list((results / "features/sift").glob("*.parquet"))) == 3
    # A broken shard is no row of the table.
    next((results / "features/rootsift").glob("*.parquet")).write_bytes(b"")
    assert run(compose_config(*arguments(photos, tmp_path, "features=[sift]", *quick))) == 0
    assert pd.read_csv(results / "table1.csv")["feature"].tolist() == ["sift"]


def test_diffusion_features_run_on_any_checkpoint_and_missing_weights_are_one_line(photos, tmp_path, capsys):
    more = ["features=[superpoint,dift,dift_rotated]", "model=local", f"model.pretrained={TINY}", "dtype=fp32"]
    more += ["dift.resolution=64", "dift.ensemble=2", "features.dift_rotated.views=3", "warps_per_image=1", "limit=2"]
    assert run(compose_config(*arguments(photos, tmp_path, *more))) == 0
    table = pd.read_csv(tmp_path / "table1/table1.csv").set_index("feature")
    assert table["pairs"].to_dict() == {"superpoint": 0, "dift": 8, "dift_rotated": 8}
    assert table.loc["superpoint", list(KINDS)].isna().all()
    text = (tmp_path / "table1/table1.md").read_text()
    assert text in capsys.readouterr().out
    assert text.count("superpoint could not run: ") == 1
    assert "dift: local at 64 px, corners." in text


def test_nothing_that_can_run_is_a_failure(photos, tmp_path):
    assert run(compose_config(*arguments(photos, tmp_path, "features=[superpoint]"))) == 1
    assert not (tmp_path / "table1/table1.csv").exists()


def test_kind_32_dollars_and_backslashes_in_names_are_shown_as_they_are(photos, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("$\\frac{$.png", "x" * 190 + "$_{.png"):
        (folder / name).write_bytes((photos / "chelsea.png").read_bytes())
    config = compose_config(*arguments(folder, tmp_path / "results", "features=[sift]", "warps_per_image=1", "worst=1"))
    OmegaConf.set_struct(config, False)
    config.features["$price"] = config.features.sift
    assert run(config) == 0
    results = tmp_path / "results/table1"
    assert pd.read_csv(results / "table1.csv")["feature"].tolist() == ["sift", "$price"]
    assert sorted(path.name for path in (results / "features/$price").iterdir()) == [
        "$%5Cfrac{$.png.parquet",
        "x" * 190 + "$_{.png.parquet",
    ]
    assert cv2.imread(str(results / "worst-$price.png")).std() > 5


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("method=dragdiffusion", "^method: "),
        ("samples=[cat]", "^samples: "),
        ("label=mine", "^label: "),
        ("metrics=full", "^metrics: "),
        ("save_latents=true", "^save_latents: "),
        ("evaluator.dift={timestep: 5}", "^evaluator: "),
        ("+nonsense=1", "^nonsense: "),
        ("data=rotationbench", r"^data\.format: "),
        ("+data.split=real", r"^data\.split: "),
        ("+data.subset=quick", r"^data\.subset: "),
        ("+data.download=true", r"^data\.download: "),
    ],
)
def test_kind_18_settings_that_are_not_its_own_are_refused(photos, tmp_path, override, message):
    with pytest.raises(ConfigError, match=message):
        run(compose_config(*arguments(photos, tmp_path, "features=[sift]", override)))
    assert not (tmp_path / "table1").exists()


@pytest.mark.parametrize("name", ["Sift", "dot/../dot", "x" * 201, ".hidden"])
def test_feature_names_that_cannot_be_file_names_are_refused(photos, tmp_path, name):
    config = compose_config(*arguments(photos, tmp_path, "features=[sift]"))
    OmegaConf.set_struct(config, False)
    config.features[name] = config.features.sift
    with pytest.raises(ConfigError, match=r"^features: expected"):
        run(config)


@pytest.mark.parametrize("place", ["file", "file/below", "long" * 100])
def test_kind_28_a_results_folder_that_cannot_be_used_is_one_line(photos, tmp_path, place):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ResultsError, match="expected a folder that can be written to") as caught:
        run(compose_config(*arguments(photos, tmp_path / place, "features=[sift]")))
    assert "\n" not in str(caught.value)


def test_a_full_disk_ends_the_run_with_one_line_and_the_next_goes_on(photos, tmp_path, monkeypatch):
    writes = []
    fsync = os.fsync

    def full_after_three(descriptor: int) -> None:
        writes.append(descriptor)
        if len(writes) > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    command = arguments(photos, tmp_path, "features=[sift]", "warps_per_image=1", "worst=0")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full_after_three)
        with pytest.raises(ResultsError, match="the disk is full"):
            run(compose_config(*command))
    assert 1 <= len(list((tmp_path / "table1/features/sift").glob("*"))) < 3
    # What a killed process leaves aside.
    leftover = tmp_path / "table1/features/sift/.tmp-abandoned.parquet"
    leftover.write_bytes(b"half")
    assert run(compose_config(*command)) == 0
    assert pd.read_csv(tmp_path / "table1/table1.csv")["pairs"].tolist() == [12]
    assert not leftover.exists()


def test_features_are_loaded_before_any_is_evaluated(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(task, "run_feature", lambda *args, **kwargs: pytest.fail("evaluated"))
    more = ["features=[sift,dift]", "model=local", f"model.pretrained={TINY}", "dift.up_block=3", "dtype=nonsense"]
    with pytest.raises(ConfigError, match="dtype"):
        run(compose_config(*arguments(photos, tmp_path, *more)))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("workers=0", "workers"),
        ("warps_per_image=none", "warps_per_image"),
        ("warps.scaling=[2,1]", r"warps\.scaling"),
        ("features.sift.max_keypoints=many", r"features\.sift\.max_keypoints"),
        ("+features.sift.colour=true", "colour"),
        ("features.sift.estimator.method=magic", r"estimator\.method"),
        ("+warps.shear=1", "shear"),
        ("thresholds=[0]", "thresholds"),
        ("features=[]", "features"),
        # Numbers that are not finite, not in range, or too many or too few.
        ("thresholds=[nan]", r"^thresholds"),
        ("thresholds=[1,inf]", r"^thresholds"),
        ("thresholds=[]", r"^thresholds: "),
        ("warps.rotation=[1]", r"^warps\.rotation: .* got \[1\.0\]"),
        ("warps.rotation=[]", r"^warps\.rotation: "),
        ("warps.rotation=[1,2,3]", r"^warps\.rotation: "),
        ("warps.rotation=[nan,nan]", r"^warps\.rotation"),
        ("warps.scaling=[1,inf]", r"^warps\.scaling"),
        ("warps.scaling=[1]", r"^warps\.scaling: "),
        ("warps.perspective=nan", r"^warps\.perspective"),
        ("warps.translation=1", r"^warps\.translation: "),
        ("crop=[480]", r"^crop: .* got \[480\]"),
        ("crop=[]", r"^crop: "),
        ("crop=[480,640,3]", r"^crop: "),
        ("crop=[10000000000000000000000,640]", r"^crop"),
        ("crop=[1000000,1000000]", r"^crop: "),
        ("warps_per_image=1000000000", r"^warps_per_image: "),
        ("workers=-1", r"^workers: "),
        ("limit=0", r"^limit: "),
        ("worst=1000000", r"^worst: "),
        ("seed=-1", r"^seed: "),
        ("seed=10000000000000000000000", r"^seed: "),
        ("features.sift.max_keypoints=-1", r"^features\.sift\.max_keypoints: "),
        ("features.sift.max_keypoints=10000000000000000000000", r"^features\.sift\.max_keypoints: "),
        ("features.sift.max_keypoints=2147483648", r"^features\.sift\.max_keypoints: "),
        ("features.sift.contrast_threshold=nan", r"^features\.sift\.contrast_threshold: "),
        ("features.sift.contrast_threshold=-1", r"^features\.sift\.contrast_threshold: "),
        ("features.sift.estimator.threshold=inf", r"^features\.sift\.estimator\.threshold: "),
        ("+features.sift.estimator.iterations=3000000000", r"^features\.sift\.estimator\.iterations: "),
        ("+features.sift.estimator.confidence=1", r"^features\.sift\.estimator\.confidence: "),
        ("+features.mine=5", r"^features\.mine\._target_: "),
    ],
)
def test_kind_32_wrong_settings_are_named(photos, tmp_path, override, message):
    with pytest.raises(ConfigError, match=message) as caught:
        run(compose_config(*arguments(photos, tmp_path, "features=[sift]", override)))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "table1").exists()


def test_pictures_that_cannot_be_used_stop_the_run_before_it_starts(tmp_path):
    Image.new("RGB", (50, 50)).save(tmp_path / "small.png")
    with pytest.raises(DatasetError, match=r"small\.png"):
        run(compose_config(*arguments(tmp_path, tmp_path / "results", "features=[sift]")))
    assert not (tmp_path / "results").exists()


def test_the_download_is_asked_for_by_the_configuration(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(task, "download_hpatches", asked.append)
    overrides = ["task=table1", "data=hpatches", f"data.root={tmp_path}", "features=[sift]"]
    for more in ([], ["data.download=true"]):
        with pytest.raises(DatasetError):
            run(compose_config(*overrides, *more))
    assert asked == [tmp_path]


@pytest.mark.parametrize("name", ["superpoint", "superpoint_open"])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max_keypoints", -1),
        ("max_keypoints", 10**30),
        ("keypoint_threshold", float("nan")),
        ("keypoint_threshold", -0.1),
        ("nms_radius", -1),
        ("nms_radius", 10**6),
    ],
)
def test_numbers_of_superpoint_are_in_range(name, key, value):
    target = OmegaConf.load(project_root() / f"conf/features/{name}.yaml")[name]["_target_"]
    with pytest.raises(ConfigError, match=rf"^features\.mine\.{key}"):
        build_feature("mine", {"_target_": target, key: value})


def test_views_and_detectors_are_in_range():
    target = "evaluation.table1.features.dift.Dift"
    for settings, key in (({"views": 0}, "views"), ({"views": 361}, "views"), ({"keypoints": {"detector": "x"}}, "")):
        with pytest.raises(ConfigError, match=rf"^features\.mine\.{key or 'keypoints.detector'}: expected"):
            build_feature("mine", {"_target_": target, **settings})


@pytest.mark.parametrize("settings", [{}, {"_target_": "no.such.Class"}, {"_target_": "pathlib.Path"}])
def test_targets_that_are_no_features_are_named(settings):
    with pytest.raises(ConfigError, match=r"features\.mine\._target_"):
        build_feature("mine", settings)


def test_features_without_a_model_need_no_library_of_models(photos, tmp_path):
    code = """
import runpy, sys
try:
    runpy.run_path("run.py", run_name="__main__")
finally:
    print("imported:", [name for name in ("diffusers", "transformers", "peft", "torchvision") if name in sys.modules])
"""
    command = arguments(photos, tmp_path, "features=[sift]", "warps_per_image=1", "limit=1", "worst=0")
    answer = subprocess.run(
        [sys.executable, "-c", code, *command], cwd=project_root(), capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines()[-1] == "imported: []"


def test_every_feature_has_a_configuration_that_loads():
    names = sorted(path.stem for path in (project_root() / "conf/features").glob("*.yaml"))
    composed = OmegaConf.to_container(compose_config("task=table1", f"features=[{','.join(names)}]"), resolve=True)
    assert sorted(composed["features"]) == names
    for name in names:
        assert build_feature(name, composed["features"][name]).version >= 1
