from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.cost import ROWS, columns, configuration, inverted_anew, markdown, matrix_rate, measure, parse, summary
from methods.rotationdrag import RotationDrag
from rotationbench.config import build_method, project_root
from rotationbench.diffusion.cost import PhaseCost

TINY = str(project_root() / "tests" / "golden" / "tinyA")
DATA = str(project_root() / "tests" / "golden" / "cases")


def options(*extra: str):
    fixed = ["--model", TINY, "--data", DATA, "--samples", "cat", "--metrics", "none", "--device", "cpu"]
    budgets = ["--size", "64", "--steps", "10", "--drag-steps", "3", "--lora-steps", "2", "--sde-steps", "6"]
    return parse([*fixed, *budgets, *extra])[0]


@pytest.mark.parametrize("case", ["cat", "rocket"])
def test_inverted_anew_costs_what_the_released_program_costs(golden_core, golden_sample, golden_recording, case):
    expected, recorded = golden_recording(f"{case}_rotationdrag_corrected")
    core = golden_core()
    method = RotationDrag(max_steps=recorded["n_pix_step"], latent_lr=recorded["lr"], lam=recorded["lam"], lora=None)
    with inverted_anew():
        result = method.edit(core, golden_sample(case, axis=expected["axis"] if case == "rocket" else None))
    sums = columns(core.cost.phases)
    assert sums["unet_calls"] == expected["unet_calls"]
    assert sums["unet_images"] == expected["unet_images"]
    np.testing.assert_array_equal(result.trace["trajectory"].numpy(), expected["trajectory"])


@pytest.mark.parametrize("name", list(ROWS))
def test_every_row_is_a_method_with_the_budgets_asked_for(name):
    method = build_method(configuration(ROWS[name], options())["method"])
    assert method.lora.steps == 2
    assert getattr(method, "max_steps", 3) == 3
    assert getattr(method, "steps", 6) == 6
    if name.startswith("rotationdrag"):
        assert method.rotation_bank == (3.0 if name == "rotationdrag-bank" else None)


def test_no_lora_steps_are_no_lora():
    chosen = options("--lora-steps", "0")
    assert build_method(configuration(ROWS["freedrag"], chosen)["method"]).lora is None


def test_a_row_is_measured_by_phase():
    (found,) = measure("dragdiffusion", options())
    # Two training steps; eight inversion steps; the untouched latent and three steps; eight steps back.
    assert found["unet_calls_lora"] == 2
    assert found["unet_calls_inversion"] == 8
    assert found["unet_calls_drag"] == 4
    assert found["unet_calls_sampling"] == 8
    assert found["unet_calls"] == 22
    assert found["unet_images"] == 2 * 4 + 8 + 4 + 16
    assert (found["height"], found["width"], found["drag_steps"]) == (64, 64, 3)
    assert found["seconds"] == pytest.approx(
        sum(found[f"seconds_{phase}"] for phase in ("lora", "inversion", "drag", "sampling"))
    )
    assert found["peak_memory_mb"] > 0


def edits() -> pd.DataFrame:
    def row(name, sample, lora, drag, memory):
        phases = {
            "lora": PhaseCost(1.0, lora, 4 * lora),
            "drag": PhaseCost(2.0, drag, drag),
            "metrics": PhaseCost(9.0, 5, 5),
        }
        return {"row": name, "sample": sample, "drag_steps": drag, "peak_memory_mb": memory, **columns(phases)}

    return pd.DataFrame(
        [
            row("dragdiffusion", "a", 10, 20, 100.0),
            row("dragdiffusion", "b", 10, 40, 300.0),
            row("rotationdrag-exact", "a", 10, 60, 200.0),
        ]
    )


def test_the_summary_compares_evaluations_without_lora_and_metrics():
    table = summary(edits())
    assert table.loc["dragdiffusion", "unet_calls"] == 40
    assert table.loc["dragdiffusion", "seconds"] == 3.0
    assert table.loc["dragdiffusion", "peak_memory_mb"] == 300.0
    assert table.loc["rotationdrag-exact", "relative"] == pytest.approx(2.0)


def test_the_table_has_a_line_per_row_and_as_many_cells_in_each():
    lines = markdown(summary(edits())).strip().splitlines()
    assert len(lines) == 4
    assert len({line.count("|") for line in lines}) == 1
    assert lines[2].startswith("| DragDiffusion | 30 |")


def test_a_matrix_rate_is_measured():
    assert 0 < matrix_rate(torch.device("cpu"), torch.float32, side=512, repeats=2) < 1000


def test_an_unknown_row_is_refused(capsys):
    with pytest.raises(SystemExit):
        parse(["--methods", "other"])
    assert "other" in capsys.readouterr().err
