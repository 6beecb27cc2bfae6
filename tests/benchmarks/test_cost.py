from __future__ import annotations

import numpy as np
import pytest
import torch
from edits_on_disk import save_edit
from tests_helpers import GOLDEN, compose_config, evaluations, recorded_evaluations

from benchmarks.cost import VARIANTS, configuration, costs, inverted_anew, matrix_rate, measure, parse, speed
from methods.rotationdrag import RotationDrag
from rotationbench.config import build_method
from rotationbench.diffusion.cost import PhaseCost
from rotationbench.errors import ResultsError
from rotationbench.results import ResultStore

SMALL = (
    "model=local",
    f"model.pretrained={GOLDEN / 'tinyA'}",
    "data=folder",
    f"data.root={GOLDEN / 'cases'}",
    "samples=[cat]",
    "device=cpu",
    "model.num_inference_steps=10",
    "method.lora.steps=2",
)


@pytest.mark.parametrize("case", ["cat", "rocket"])
def test_inverted_anew_costs_what_the_released_program_costs(golden_core, golden_sample, golden_recording, case):
    expected, recorded = golden_recording(f"{case}_rotationdrag_corrected")
    core = golden_core()
    method = RotationDrag(max_steps=recorded["n_pix_step"], latent_lr=recorded["lr"], lam=recorded["lam"], lora=None)
    with inverted_anew():
        result = method.edit(core, golden_sample(case, axis=expected["axis"] if case == "rocket" else None))
    assert evaluations(core)[:2] == recorded_evaluations(expected)[:2]
    np.testing.assert_array_equal(result.trace["trajectory"].numpy(), expected["trajectory"])


@pytest.mark.parametrize("label", list(VARIANTS))
def test_every_row_is_a_method(label):
    method = build_method(configuration(VARIANTS[label].settings).method)
    if label.startswith("rotationdrag"):
        assert method.rotation_bank == (3.0 if label == "rotationdrag-bank" else None)
        assert method.rotation_step == (3.0 if label == "rotationdrag-step" else None)


def test_a_row_is_measured_by_phase(tmp_path):
    measure("dragdiffusion", (*SMALL, "method.max_steps=3"), tmp_path)
    edit = ResultStore(tmp_path).read("dragdiffusion", "cat")
    # Two training steps; eight inversion steps; the untouched latent and three steps; eight steps back.
    assert edit.record["phase_unet_calls"] == {
        "lora": 2,
        "inversion": 8,
        "drag": 4,
        "sampling": 8,
        "decode": 0,
        "other": 0,
    }
    assert edit.record["unet_images"] == 8 + 4 + 16
    table = costs(ResultStore(tmp_path), ["dragdiffusion"])
    assert table.loc["dragdiffusion", "evaluations, lora"] == 2
    assert table.loc["dragdiffusion", "evaluations"] == 20
    assert table.loc["dragdiffusion", "peak MiB"] > 0


def test_a_failed_edit_ends_the_measurement(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("out of memory")

    monkeypatch.setattr("methods.dragdiffusion.DragDiffusion.edit", fail)
    with pytest.raises(ResultsError, match="dragdiffusion"):
        measure("dragdiffusion", SMALL, tmp_path)


def test_costs_compare_evaluations_without_the_lora(tmp_path):
    def phases(calls: int) -> dict[str, PhaseCost]:
        return {"lora": PhaseCost(1.0, 10, 40), "drag": PhaseCost(2.0, calls, calls)}

    save_edit(tmp_path, "dragdiffusion", "a", phases=phases(20), peak_memory_mb=100.0)
    save_edit(tmp_path, "dragdiffusion", "b", phases=phases(40), peak_memory_mb=300.0)
    save_edit(tmp_path, "rotationdrag-exact", "a", phases=phases(60) | {"bank": PhaseCost(1.0, 5, 5)})
    table = costs(ResultStore(tmp_path), ["rotationdrag-exact", "dragdiffusion"])
    assert list(table.index) == ["rotationdrag-exact", "dragdiffusion"]
    assert table.loc["dragdiffusion", "evaluations"] == 30
    assert table.loc["dragdiffusion", "s per edit"] == 2.0
    assert table.loc["dragdiffusion", "peak MiB"] == 300.0
    assert table.loc["dragdiffusion", "evaluations, bank"] == 0
    assert table.loc["rotationdrag-exact", "× dragdiffusion"] == pytest.approx(65 / 30)


def test_a_matrix_rate_is_measured_and_bounds_the_time_of_full_size_evaluations(tmp_path):
    assert 0 < matrix_rate(torch.device("cpu"), torch.float32, side=512, repeats=2) < 1000
    save_edit(tmp_path, "freedrag", "a")
    table = costs(ResultStore(tmp_path), ["freedrag"])
    assert "at least: freedrag" in speed(compose_config("model=sd15", "device=cpu"), table)
    assert "at least" not in speed(compose_config("model=mini", "device=cpu"), table)


def test_what_is_no_option_is_a_setting():
    given = parse(["--rows", "freedrag,sde_drag", "model=sd15", "limit=4"])
    assert (given.rows, given.settings) == (["freedrag", "sde_drag"], ["model=sd15", "limit=4"])


def test_an_unknown_row_is_refused(capsys):
    with pytest.raises(SystemExit):
        parse(["--rows", "freedrag,other"])
    assert "other" in capsys.readouterr().err
