from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tests_helpers import compose_config

from benchmarks import random_weights, speed
from benchmarks.speed import OURS, PROGRAM, ROWS, batch_costs, compare, load_core, main, measure, parse, ratios
from methods.dragdiffusion import DragDiffusion
from methods.rotationdrag import RotationDrag

SMALL = {"max_steps": 4, "latent_lr": 0.05, "lora": None}


def test_ratios_are_taken_within_a_round():
    seconds = {PROGRAM: [2.0, 8.0, 4.0], OURS: [1.0, 2.0, 3.0]}
    lines = pd.DataFrame(
        {"sample": "a", "row": "r", "side": side, "round": number, "steps": 3, "evaluations": 5, "clock": 9.0}
        | {"all": value, "drag": value / 2}
        for side, values in seconds.items()
        for number, value in enumerate(values)
    )
    (row,) = ratios(lines).to_dict("records")
    assert row["ratio"] == "0.50 (0.25 to 0.75)"
    assert row["ratio, drag"] == 0.5
    assert (row["s, program"], row["s, ours"]) == (4.0, 2.0)


def test_phases_are_timed_apart(golden_core, golden_sample, monkeypatch):
    core, sample = golden_core(), golden_sample("rocket").resized((64, 64))
    ticks = iter(np.arange(1000.0))
    monkeypatch.setattr(speed.PhaseClock, "now", lambda clock: next(ticks))
    found = measure(core, DragDiffusion(max_steps=1, lora=None), sample)
    # The clock is read where phases begin and end, so that each takes as many ticks as it has parts.
    phases = {"other", "inversion", "drag", "sampling", "decode"}
    assert phases < set(found) and sum(found[name] for name in phases) <= found["all"]
    assert all(found[name] >= 1 for name in phases)
    assert found["steps"] == 1 and core.cost.observer is None


def test_rows_of_a_method_share_the_program_s_edits(golden_core, golden_sample):
    core, sample = golden_core(attention="sdpa"), golden_sample("rocket").resized((64, 64))
    rows = {"exact": RotationDrag(**SMALL), "step": RotationDrag(rotation_step=9.0, **SMALL)}
    lines = compare(core, "sdpa", rows, sample, rounds=1)
    assert sorted(zip(lines["row"], lines["side"], strict=True)) == [
        ("exact", OURS),
        ("exact", PROGRAM),
        ("step", OURS),
        ("step", PROGRAM),
    ]
    program = lines[lines["side"] == PROGRAM]
    assert program["all"].nunique() == 1 and set(lines["round"]) == {0}


def test_the_command_writes_its_tables(tmp_path, capsys):
    small = ["model.num_inference_steps=2", "method.max_steps=1", "method.lora=null", "model.resolution=64"]
    options = ["--rows", "dragdiffusion", "--rounds", "1", "--device", "cpu", "--out", str(tmp_path)]
    assert main([*options, "--profile", "--batches", "1,2", *small, "samples=[rocket-lean-right]"]) == 0
    assert set(pd.read_csv(tmp_path / "speed.csv")["side"]) == {OURS, PROGRAM}
    assert "aten::" in (tmp_path / "speed.md").read_text(encoding="utf-8")
    printed = capsys.readouterr().out
    assert "ratio, drag" in printed and "s per latent, forward" in printed


def test_the_full_size_has_random_weights(monkeypatch):
    small = {"UNET": ("block_out_channels", (32, 64, 64, 64)), "VAE": ("block_out_channels", (32, 32, 32, 32))}
    for name, (key, value) in small.items():
        monkeypatch.setitem(getattr(random_weights, name), key, value)
    monkeypatch.setitem(random_weights.TEXT_ENCODER, "num_hidden_layers", 1)
    core = load_core("sd15", compose_config("model=sd15", "device=cpu", "model.num_inference_steps=4"))
    costs = batch_costs(core, (64, 64), [1, 2], repeats=1)
    assert list(costs["batch"]) == [1, 2]
    assert (costs[["s per latent, forward", "s per latent, drag step"]] > 0).all(axis=None)


def test_an_unknown_row_is_refused(capsys):
    with pytest.raises(SystemExit):
        parse(["--rows", "dragdiffusion,other"])
    assert "other" in capsys.readouterr().err
    assert parse(["--rows", next(iter(ROWS)), "limit=2"]).settings == ["limit=2"]
