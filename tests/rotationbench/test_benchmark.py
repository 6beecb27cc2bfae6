from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import create_autospec

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tests_helpers import compose_config

from rotationbench.benchmark import run
from rotationbench.config import _core, project_root
from rotationbench.datasets import chosen_names
from rotationbench.errors import ConfigError, DatasetError, LabelError, ResultsError
from rotationbench.files import read_json
from rotationbench.results import ResultStore
from rotationbench.results import edit as reading
from rotationbench.results.index import INDEX_FILE

CHECKPOINT = project_root() / "tests" / "golden" / "tinyA"
CASES = project_root() / "tests" / "golden" / "cases"


@pytest.fixture
def dataset(tmp_path) -> Path:
    """Four small samples: the recorded cases, twice."""
    root = tmp_path / "data"
    for case in ("cat", "rocket"):
        for copy in (1, 2):
            shutil.copytree(CASES / case, root / f"{case}{copy}")
    return root


def overrides(dataset: Path, results: Path, *more: str) -> list[str]:
    return [
        "method=dragdiffusion",
        "method.max_steps=2",
        "method.lora=null",
        "model=local",
        f"model.pretrained={CHECKPOINT}",
        "model.num_inference_steps=4",
        "data=folder",
        f"data.root={dataset}",
        f"results_dir={results}",
        "cache_dir=null",
        "metrics=none",
        "device=cpu",
        *more,
    ]


def benchmark(dataset: Path, results: Path, *more: str) -> int:
    return run(compose_config(*overrides(dataset, results, *more)))


def finished(results: Path) -> dict[str, str]:
    """When each edit was finished, by its path."""
    return {
        str(file.parent.relative_to(results)): json.loads(file.read_text())["finished"]
        for file in results.glob("*/*/record.json")
    }


def test_edits_records_tables_and_sheet(dataset, tmp_path):
    results = tmp_path / "results"
    assert benchmark(dataset, results, "save_latents=true", "metrics=[background_psnr]") == 0
    table = pd.read_parquet(results / "edits.parquet")
    assert list(table["sample"]) == ["cat1", "cat2", "rocket1", "rocket2"]
    assert table["background_psnr"].notna().all()
    with Image.open(results / "dragdiffusion" / "cat1" / "edited.png") as edited:
        assert edited.size == (128, 128)
    with np.load(results / "dragdiffusion" / "cat1" / "trace.npz") as trace:
        assert trace["edited"].shape == (1, 3, 128, 128)
        assert trace["inverted"].shape == trace["optimized"].shape == (1, 4, 16, 16)
        assert trace["trajectory"].shape == (1, 2, 2)
    record = ResultStore(results).read("dragdiffusion", "cat1").record
    # Three steps of inversion, the start and two steps of the drag, three steps of sampling with two latents.
    assert (record["unet_calls"], record["unet_images"], record["unet_grad_calls"]) == (9, 12, 2)
    assert record["seconds"] > 0 and record["peak_memory_mb"] > 0
    assert record["config"]["method"]["max_steps"] == 2
    # The case has a pivot pair, which DragDiffusion drags like any other: it counts in the path, not in the distance.
    assert len(record["trajectory"][0]) == 2
    assert len(record["final_distances"]) == record["sample"]["handles"] == 1
    # At the start and after the one round of tracking; the first is the way from (76, 70) to (64, 86).
    assert len(record["distance_left"]) == 2
    assert record["distance_left"][0] == pytest.approx(20.0)
    assert (results / "contact_sheet.jpg").exists()
    # Both copies are one picture with one prompt: the same edit.
    first, second = (results / "dragdiffusion" / name / "edited.png" for name in ("cat1", "cat2"))
    assert first.read_bytes() == second.read_bytes()


def test_what_is_done_is_skipped_and_what_changed_is_made_again(dataset, tmp_path):
    results = tmp_path / "results"
    chosen = "samples=[cat*]"
    assert benchmark(dataset, results, chosen) == 0
    before = finished(results)
    assert benchmark(dataset, results, chosen) == 0
    assert finished(results) == before
    assert benchmark(dataset, results, "samples=cat1", "overwrite=true") == 0
    again = finished(results)
    assert again["dragdiffusion/cat1"] > before["dragdiffusion/cat1"]
    assert again["dragdiffusion/cat2"] == before["dragdiffusion/cat2"]
    assert benchmark(dataset, results, chosen, "method.lam=0.2", "overwrite=true") == 0
    assert finished(results)["dragdiffusion/cat2"] > before["dragdiffusion/cat2"]


def test_edits_of_other_settings_are_not_replaced_unless_that_is_asked_for(dataset, tmp_path, monkeypatch):
    from rotationbench.editing import Editor

    results = tmp_path / "results"
    edit = create_autospec(Editor.edit, side_effect=Editor.edit)
    monkeypatch.setattr(Editor, "edit", edit)
    assert benchmark(dataset, results, "samples=cat1") == 0
    before = finished(results)
    edit.reset_mock()
    for samples in ("samples=cat1", "samples=rocket1"):
        with pytest.raises(LabelError, match=r"label: .*'dragdiffusion'.*cat1 \(method\.lam: 0\.1 → 0\.2\).*overwrite"):
            benchmark(dataset, results, samples, "method.lam=0.2")
    # Seeds of one label are repeated measures, so that they must have its settings too.
    with pytest.raises(LabelError, match=r"method\.r_t: 3 → 2"):
        benchmark(dataset, results, "samples=cat1", "method.r_t=2", "seed=1")
    with pytest.raises(LabelError, match=r"model\.num_inference_steps: 4 → 5"):
        benchmark(dataset, results, "samples=cat1", "model.num_inference_steps=5")
    edit.assert_not_called()
    assert finished(results) == before
    assert benchmark(dataset, results, "samples=cat1", "method.lam=0.2", "overwrite=true") == 0
    assert finished(results)["dragdiffusion/cat1"] > before["dragdiffusion/cat1"]


def test_seeds_and_labels_stand_beside_each_other(dataset, tmp_path):
    results = tmp_path / "results"
    assert benchmark(dataset, results, "limit=1") == 0
    assert benchmark(dataset, results, "limit=1", "seed=1") == 0
    stronger = ("limit=1", "label=stronger", "method.lam=1.0")
    assert benchmark(dataset, results, *stronger) == 0
    assert benchmark(dataset, results, *stronger, "seed=2") == 0
    table = pd.read_csv(results / "edits.csv")
    assert list(table["label"]) == ["dragdiffusion", "dragdiffusion-seed1", "stronger", "stronger-seed2"]
    assert list(table["variant"]) == ["dragdiffusion", "dragdiffusion", "stronger", "stronger"]
    assert set(table["method"]) == {"dragdiffusion"}
    # A label that ends as another one's seed does.
    with pytest.raises(LabelError, match="seed: 1 → 0"):
        benchmark(dataset, results, "limit=1", "label=dragdiffusion-seed1")


def test_what_a_sweep_varies_is_in_the_label(dataset, tmp_path):
    results = tmp_path / "results"
    swept = ["method.lam=0.1,0.2", "seed=0,1", "samples=cat1"]
    process = start(["-m", *overrides(dataset, results), *swept])
    output = process.communicate()[1]
    assert process.returncode == 0, output
    table = pd.read_csv(results / "edits.csv")
    variants = ["dragdiffusion-lam=0.1", "dragdiffusion-lam=0.2"]
    assert list(table["label"]) == [f"{variant}{seed}" for variant in variants for seed in ("", "-seed1")]
    assert list(table["variant"]) == [variant for variant in variants for _ in range(2)]


def test_the_result_has_the_exact_size_of_the_picture(dataset, tmp_path):
    sample = dataset / "cat1"
    for name in ("image.png", "mask.png"):
        with Image.open(sample / name) as picture:
            picture.crop((0, 0, 117, 99)).save(sample / name)
    results = tmp_path / "results"
    assert benchmark(dataset, results, "samples=cat1", "model.resolution=64") == 0
    with Image.open(results / "dragdiffusion" / "cat1" / "edited.png") as edited:
        assert edited.size == (117, 99)


def test_kind_14_another_configuration_of_the_same_weights_is_another_model(dataset, tmp_path, caplog):
    results, checkpoint = tmp_path / "results", tmp_path / "checkpoint"
    shutil.copytree(CHECKPOINT, checkpoint)
    changes = ("samples=cat1", "model.resolution=64", f"model.pretrained={checkpoint}")
    assert benchmark(dataset, results, *changes) == 0
    before = (results / "dragdiffusion" / "cat1" / "edited.png").read_bytes()
    config = checkpoint / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace('"epsilon"', '"v_prediction"'))
    # Within a process the last model is kept by its path.
    _core.cache_clear()
    caplog.set_level("INFO", "rotationbench")
    assert benchmark(dataset, results, *changes) == 0
    assert "cat1: made again (model: " in caplog.text
    assert (results / "dragdiffusion" / "cat1" / "edited.png").read_bytes() != before


def test_kind_9_an_edit_that_is_not_finite_failed_and_says_where(dataset, tmp_path):
    results = tmp_path / "results"
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(CHECKPOINT, checkpoint)
    file = checkpoint / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    # Finite, but no sum of them is.
    save_file(tensors | {"conv_out.weight": torch.full_like(tensors["conv_out.weight"], 3e38)}, file)
    assert benchmark(dataset, results, "samples=cat1", "model.resolution=64", f"model.pretrained={checkpoint}") == 1
    record = json.loads((results / "dragdiffusion" / "cat1" / "record.json").read_text())
    assert record["status"] == "failed"
    assert record["error"]["type"] == "NonFiniteError"
    assert "the UNet's prediction (phase inversion, after 1 UNet evaluations)" in record["error"]["message"]
    assert not (results / "dragdiffusion" / "cat1" / "edited.png").exists()


def test_kind_33_an_area_that_is_too_large_is_refused_before_a_model_is_loaded(dataset, tmp_path):
    picture = np.zeros((32, 4096, 3), dtype=np.uint8)
    Image.fromarray(picture).save(dataset / "cat1" / "image.png")
    Image.fromarray(picture[..., 0] + 255).save(dataset / "cat1" / "mask.png")
    config = dataset / "cat1" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"point": [[10, 10], [20, 10]]}))
    nowhere = f"model.pretrained={tmp_path / 'nowhere'}"
    with pytest.raises(DatasetError, match=r"cat1.*expected pictures of at most 4194304 pixels, got 32 × 4096"):
        benchmark(dataset, tmp_path / "results", "samples=cat1", "model.resolution=512", nowhere)
    # Without a model nothing is resized.
    given = [item for item in overrides(dataset, tmp_path / "results") if not item.startswith("method")]
    assert run(compose_config(*given, "method=nothing", "samples=cat1", "model.resolution=512", nowhere)) == 0


def test_kind_20_an_edit_takes_the_time_of_all_its_phases_but_the_lora(dataset, tmp_path):
    results = tmp_path / "results"
    lora = "method.lora={rank: 2, steps: 1, batch_size: 1}"
    started = time.perf_counter()
    assert benchmark(dataset, results, "samples=cat1", "model.resolution=64", lora) == 0
    elapsed = time.perf_counter() - started
    record = json.loads((results / "dragdiffusion" / "cat1" / "record.json").read_text())
    assert {"lora", "inversion", "drag", "sampling", "decode", "other"} <= record["phases"].keys()
    without_lora = sum(seconds for phase, seconds in record["phases"].items() if phase != "lora")
    assert record["seconds"] == pytest.approx(without_lora)
    assert record["seconds"] + record["phases"]["lora"] < elapsed


def test_kind_4_a_failed_sample_is_recorded_and_the_run_goes_on(dataset, tmp_path, monkeypatch):
    from methods.dragdiffusion import DragDiffusion

    results = tmp_path / "results"
    edit = DragDiffusion.edit

    def fragile(self, core, sample, **arguments):
        if sample.name == "cat2":
            raise RuntimeError("the drag broke")
        return edit(self, core, sample, **arguments)

    monkeypatch.setattr(DragDiffusion, "edit", fragile)
    assert benchmark(dataset, results) == 1
    table = pd.read_csv(results / "edits.csv").set_index("sample")
    assert dict(table["status"]) == {"cat1": "done", "cat2": "failed", "rocket1": "done", "rocket2": "done"}
    assert table["error"]["cat2"] == "the drag broke"
    record = json.loads((results / "dragdiffusion" / "cat2" / "record.json").read_text())
    assert "fragile" in record["error"]["traceback"]
    monkeypatch.undo()
    assert benchmark(dataset, results) == 0
    assert set(pd.read_csv(results / "edits.csv")["status"]) == {"done"}


def test_kind_7_a_failed_remake_counts_and_the_earlier_edit_is_kept(dataset, tmp_path, monkeypatch):
    from methods.dragdiffusion import DragDiffusion

    results = tmp_path / "results"
    assert benchmark(dataset, results, "limit=1") == 0
    before = finished(results)
    monkeypatch.setattr(DragDiffusion, "edit", lambda *_, **__: 1 / 0)
    assert benchmark(dataset, results, "limit=1", "overwrite=true") == 1
    assert finished(results) == before
    table = pd.read_csv(results / "edits.csv")
    assert table["status"].tolist() == ["failed"] and "division by zero" in table["error"][0]
    # The edit counts again when it is what is asked for.
    monkeypatch.undo()
    assert benchmark(dataset, results, "limit=1") == 0
    assert finished(results) == before
    assert pd.read_csv(results / "edits.csv")["status"].tolist() == ["done"]


def test_another_sample_under_a_used_name_is_refused(dataset, tmp_path):
    results = tmp_path / "results"
    assert benchmark(dataset, results, "samples=cat1") == 0
    config = dataset / "cat1" / "config.json"
    config.write_text(config.read_text().replace("a photo of a cat", "a dog"))
    assert benchmark(dataset, results, "samples=cat1") == 1
    assert benchmark(dataset, results, "samples=cat1", "overwrite=true") == 0


def test_a_broken_data_set_is_reported_before_anything_runs(dataset, tmp_path):
    (dataset / "cat1" / "image.png").write_bytes(b"no picture")
    (dataset / "rocket2" / "config.json").write_text("{")
    with pytest.raises(DatasetError) as caught:
        benchmark(dataset, tmp_path / "results")
    assert "cat1/image.png" in str(caught.value) and "rocket2/config.json" in str(caught.value)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("label", ["a/b", ".hidden", "samples", "Edits.csv", "x" * 300, "nul\0", "\ud800"])
def test_kind_2_labels_that_are_no_folder_names_are_refused(dataset, tmp_path, label):
    config = compose_config(*overrides(dataset, tmp_path / "results"))
    config.label = label
    with pytest.raises(ConfigError, match="label: expected"):
        run(config)
    assert not (tmp_path / "results").exists()


def test_labels_that_only_capitals_tell_apart_are_refused(dataset, tmp_path):
    assert benchmark(dataset, tmp_path / "results", "limit=1", "label=Mine") == 0
    with pytest.raises(ConfigError, match="label: expected a name of its own, got 'mine' beside 'Mine'"):
        benchmark(dataset, tmp_path / "results", "limit=1", "label=mine")


def test_kind_13_a_corrected_sample_reaches_record_and_copy_without_a_new_edit(dataset, tmp_path):
    results = tmp_path / "results"
    assert benchmark(dataset, results, "samples=cat1") == 0
    before = finished(results)
    (dataset / "cat1" / "meta.json").write_text('{"angle": 55.0}')
    assert benchmark(dataset, results, "samples=cat1") == 0
    assert finished(results) == before
    assert pd.read_csv(results / "edits.csv")["angle"].tolist() == [55.0]
    assert ResultStore(results).sample("cat1").meta.angle == 55.0


def test_kind_1_a_broken_kept_sample_is_written_again(dataset, tmp_path):
    results = tmp_path / "results"
    assert benchmark(dataset, results, "samples=cat1") == 0
    (results / "samples" / "cat1" / "config.json").unlink()
    assert benchmark(dataset, results, "samples=cat1", "overwrite=true") == 0
    assert ResultStore(results).sample("cat1").prompt == "a photo of a cat"


def test_kind_17_a_broken_sample_that_is_not_chosen_does_not_matter(dataset, tmp_path):
    (dataset / "rocket2" / "config.json").write_text("{")
    assert benchmark(dataset, tmp_path / "results", "samples=cat1") == 0


def test_kind_37_finished_samples_are_not_read_again(dataset, tmp_path, monkeypatch):
    from rotationbench.datasets import Dataset

    results = tmp_path / "results"
    assert benchmark(dataset, results) == 0
    monkeypatch.setattr(Dataset, "__getitem__", lambda *_: pytest.fail("a sample was read"))
    monkeypatch.setattr(Dataset, "problems", lambda self, names, _: list(names) and pytest.fail("a sample was checked"))
    assert benchmark(dataset, results) == 0


def test_kind_37_records_are_read_once_and_then_not_until_they_are_written_again(dataset, tmp_path, monkeypatch):
    results, read = tmp_path / "results", []
    settings = ["method=nothing", "data=folder", f"data.root={dataset}", f"results_dir={results}", "metrics=[psnr]"]
    assert run(compose_config(*settings)) == 0
    monkeypatch.setattr("rotationbench.benchmark.draw_sheet", lambda *_, **__: [])
    monkeypatch.setattr(reading, "read_json", lambda path: read.append(path.parent.name) or read_json(path))
    assert run(compose_config(*settings)) == 0
    assert read == []
    record = results / "nothing" / "cat1" / "record.json"
    record.write_text(record.read_text() + "\n")
    assert run(compose_config(*settings)) == 0
    assert read == ["cat1"]
    (results / INDEX_FILE).unlink()
    assert run(compose_config(*settings)) == 0
    assert sorted(read[1:]) == sorted(sample.name for sample in dataset.iterdir())


def test_kind_4_a_full_disk_ends_the_run_with_one_line_and_keeps_what_is_whole(dataset, tmp_path, monkeypatch):
    results = tmp_path / "results"
    assert benchmark(dataset, results, "limit=1") == 0
    before = finished(results)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("rotationbench.files.os.fsync", full)
    with pytest.raises(ResultsError, match="the disk is full"):
        benchmark(dataset, results)
    monkeypatch.undo()
    assert finished(results) == before
    assert not list(results.rglob(".tmp-*"))
    assert benchmark(dataset, results) == 0
    assert len(finished(results)) == 4


def test_kind_17_samples_are_chosen_by_name_before_glob():
    names = ["cat", "cup", "dog"]
    assert chosen_names(names, None, None) == names
    assert chosen_names(names, ["dog", "c*"], 2) == ["cat", "cup"]
    with pytest.raises(ConfigError, match=r"\['bird'\]; there are: cat, cup, dog"):
        chosen_names(names, ["cat", "bird"], None)
    assert chosen_names(["cat1", "cat[1]"], ["cat[1]"], None) == ["cat[1]"]


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(project_root() / "run.py"), *arguments]


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1"}


def start(arguments: list[str]) -> subprocess.Popen:
    return subprocess.Popen(
        command(*arguments),
        cwd=project_root(),
        env=environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_for(condition, process: subprocess.Popen, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.02)


def test_a_killed_run_is_continued(dataset, tmp_path):
    results = tmp_path / "results"
    arguments = overrides(dataset, results, "method.max_steps=6")
    killed = start(arguments)
    wait_for(lambda: len(finished(results)) >= 2, killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    before = finished(results)
    store = ResultStore(results)
    # Whatever is there is whole.
    assert {f"{edit.record['label']}/{edit.record['sample']['name']}" for edit in store.edits()} == before.keys()
    assert len(before) < 4

    again = subprocess.run(
        command(*arguments), cwd=project_root(), env=environment(), capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    after = finished(results)
    assert len(after) == 4
    assert {name: after[name] for name in before} == before
    assert again.stderr.count("done before") == len(before)
    assert len(pd.read_csv(results / "edits.csv")) == 4


def test_two_runs_at_once_share_the_work(dataset, tmp_path):
    results = tmp_path / "results"
    runs = [start(overrides(dataset, results)) for _ in range(2)]
    outputs = [process.communicate()[1] for process in runs]
    assert [process.returncode for process in runs] == [0, 0], outputs
    made = sum(output.count("px left") for output in outputs)
    reused = sum(output.count("done before") for output in outputs)
    assert (made, reused) == (4, 4)
    assert len(list(ResultStore(results).edits())) == 4
    assert len(pd.read_parquet(results / "edits.parquet")) == 4


def test_a_sample_that_another_run_holds_is_passed_over_and_done_at_the_end(dataset, tmp_path, monkeypatch, caplog):
    import fcntl

    from rotationbench.engine import base

    results = tmp_path / "results"
    file = Path(ResultStore(results).lock("nothing", "cat1").lock_file)
    arguments = [item for item in overrides(dataset, results) if not item.startswith("method")]
    waited = []
    with file.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)

        def sleep(_):
            waited.append(sorted(finished(results)))
            fcntl.flock(held, fcntl.LOCK_UN)

        monkeypatch.setattr(base.time, "sleep", sleep)
        assert run(compose_config(*arguments, "method=nothing")) == 0
    # All others were made by the time that there was nothing left but to wait.
    assert waited == [["nothing/cat2", "nothing/rocket1", "nothing/rocket2"]]
    assert len(finished(results)) == 4


def test_shards_of_a_run_fill_one_folder_together(dataset, tmp_path):
    results = tmp_path / "results"
    arguments = [item for item in overrides(dataset, results) if not item.startswith("method")]
    made = []
    for shard in ("1/3", "2/3", "3/3"):
        before = finished(results)
        assert run(compose_config(*arguments, "method=nothing", f"shard={shard}")) == 0
        made.append(finished(results).keys() - before.keys())
        assert before.items() <= finished(results).items()
    assert sorted(map(len, made)) == [1, 1, 2]
    assert len(pd.read_parquet(results / "edits.parquet")) == 4


LEFT = {"nothing": 20.0, "turn": 4.0}


@pytest.mark.parametrize("method", LEFT)
def test_a_method_without_a_model_loads_none_and_works_at_the_samples_size(dataset, tmp_path, method):
    image_file = dataset / "cat1" / "image.png"
    # A size that no latent has; the mask goes along.
    for file in (image_file, dataset / "cat1" / "mask.png"):
        with Image.open(file) as picture:
            cropped = picture.crop((0, 0, 127, 101))
        cropped.save(file)
    results = tmp_path / "results"
    base = [f"method={method}", "model=local", "data=folder", f"data.root={dataset}", f"results_dir={results}"]
    base += ["cache_dir=null", "device=cpu", "samples=cat1", "save_latents=true"]
    nowhere = ["model.pretrained=/nowhere", "metrics=[psnr]"]
    assert run(compose_config(*base, *nowhere)) == 0
    edit = ResultStore(results).read(method, "cat1")
    record = edit.record
    assert (record["weights_hash"], record["dtype"], record["device"]) == (None, None, "cpu")
    assert (record["unet_calls"], record["unet_images"]) == (0, 0)
    assert record["seconds"] > 0 and list(record["phases"]) == ["drag"]
    # From (76, 70) to (64, 86) about (64, 70): 20 px, of which turning leaves the difference of 12 px and 16 px radius.
    assert record["final_distances"] == [pytest.approx(LEFT[method], abs=1e-6)]
    assert record["converged"] is (False if method == "nothing" else None)
    assert (record["unchanged"], record["unmoved"]) == (method == "nothing", method == "nothing")
    with Image.open(edit.folder / "edited.png") as edited, Image.open(image_file) as source:
        assert np.array_equal(edited, source.convert("RGB")) == (method == "nothing")
    assert np.isinf(edit.metrics["psnr"]) == (method == "nothing")

    # A metric that needs a model brings one, which has no part in the edit.
    before = finished(results)
    assert run(compose_config(*base, f"model.pretrained={CHECKPOINT}", "metrics=[psnr,mean_distance]")) == 0
    assert finished(results) == before
    assert ResultStore(results).read(method, "cat1").metrics["mean_distance"] >= 0


def test_a_method_that_reads_metadata_edits_anew_when_it_changes(dataset, tmp_path):
    results = tmp_path / "results"
    shutil.copy(dataset / "cat1" / "mask.png", dataset / "cat1" / "object_mask.png")
    chosen = ["samples=cat1", "model.pretrained=/nowhere"]

    def edited_with(pivot: list[int]) -> dict[str, str]:
        meta = {"object_mask": "object_mask.png", "pivot": pivot}
        (dataset / "cat1" / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
        for method in ("turn", "nothing"):
            arguments = [f"method={method}", "model=local", "data=folder", f"data.root={dataset}"]
            arguments += [f"results_dir={results}", "cache_dir=null", "metrics=none", "device=cpu", *chosen]
            assert run(compose_config(*arguments)) == 0
        return finished(results)

    before = edited_with([64, 64])
    assert edited_with([64, 64]) == before
    changed = edited_with([60, 64])
    assert changed["turn/cat1"] > before["turn/cat1"]
    assert changed["nothing/cat1"] == before["nothing/cat1"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_kind_8_signals_leave_whole_edits_a_table_and_one_line(dataset, tmp_path, number):
    results = tmp_path / "results"
    process = start(overrides(dataset, results, "method.max_steps=15"))
    wait_for(lambda: len(finished(results)) >= 1, process)
    process.send_signal(number)
    output = process.communicate()[1]
    assert process.returncode == 128 + number
    assert output.count("Interrupted.") == 1 and "Traceback" not in output
    assert len(pd.read_csv(results / "edits.csv")) == len(finished(results)) < 4
    assert not list(results.rglob(".tmp-*"))


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal, as Linux tells."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(mask, 16) >> (number - 1) & 1)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell what a process catches")
def test_kind_8_a_signal_during_start_up_is_answered_alike(dataset, tmp_path):
    process = start(overrides(dataset, tmp_path / "results"))
    wait_for(lambda: catches(process.pid, signal.SIGTERM), process)
    process.terminate()
    output = process.communicate()[1]
    assert process.returncode == 128 + signal.SIGTERM
    assert output.count("Interrupted.") == 1 and "Traceback" not in output


WRONG = {
    "samples=unicorn": "samples: expected names or globs of samples, got ['unicorn']",
    "device=cuda": "device: expected",
    "metrics=bogus": "metrics: expected",
    "+evaluator.dift={steps: 3}": "evaluator.dift: ",
    "+evaluator.bogus=1": "evaluator: ",
    "method=null": "method: expected",
    "model.unknown=1": "unknown",
    "task=nowhere": "nowhere",
}


def test_kind_25_what_goes_wrong_while_objects_are_built_is_one_line(dataset, tmp_path):
    commands = [[*overrides(dataset, tmp_path / "results", "metrics=fast"), setting] for setting in WRONG]
    # In one process, for the imports take longer than what each does.
    program = (
        "import sys\n"
        "from rotationbench.command_line import main\n"
        f"for sys.argv[1:] in {commands!r}:\n"
        "    print(main(), file=sys.stderr, end='\\0')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=project_root(),
        env=environment() | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    outputs = done.stderr.split("\0")[:-1]
    for (setting, message), output in zip(WRONG.items(), outputs, strict=True):
        *said, status = output.splitlines()
        assert status == "2", (setting, output)
        assert message in "\n".join(said) and "Traceback" not in output, (setting, output)
