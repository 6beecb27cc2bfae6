from __future__ import annotations

import os
import time

import pytest
import torch

from methods.dragdiffusion import DragDiffusion
from methods.sde_drag import SdeDrag
from rotationbench.diffusion.cost import Cost, PhaseCost, peak_memory_mb, reset_peak_memory


def test_counts_go_to_the_innermost_phase():
    cost = Cost()
    cost.count(1, grad=False)
    with cost.phase("drag"):
        cost.count(2, grad=True)
        with cost.phase("bank"):
            cost.count(5, grad=False)
        cost.count(1, grad=False)
    assert cost.phases["other"].unet_calls == 1
    drag, bank = cost.phases["drag"], cost.phases["bank"]
    assert (drag.unet_calls, drag.unet_images, drag.unet_grad_calls) == (2, 3, 1)
    assert (bank.unet_calls, bank.unet_images) == (1, 5)


def test_a_phase_inside_another_takes_its_time_from_it():
    cost = Cost()
    started = time.perf_counter()
    with cost.phase("outer"):
        time.sleep(0.02)
        with cost.phase("inner"):
            time.sleep(0.05)
    total = time.perf_counter() - started
    inner, outer = cost.phases["inner"].seconds, cost.phases["outer"].seconds
    assert inner >= 0.05
    assert outer >= 0.02
    # Counted twice, the inner phase would make the sum longer than the whole.
    assert inner + outer <= total


def test_a_phase_that_fails_is_closed():
    cost = Cost()
    with pytest.raises(RuntimeError, match="inside"), cost.phase("drag"):
        raise RuntimeError("inside")
    cost.count(1, grad=False)
    assert cost.phases["other"].unet_calls == 1


def test_charges_and_differences():
    cost = Cost()
    cost.charge("lora", PhaseCost(2.0, 3, 4, 3))
    before = cost.snapshot("lora")
    cost.charge("lora", PhaseCost(1.0, 1, 1, 0))
    assert cost.of("lora").minus(before) == PhaseCost(1.0, 1, 1, 0)
    cost.reset()
    assert not cost.phases


def test_a_phase_of_its_own_gives_way_to_the_one_that_is_open():
    cost = Cost()
    with cost.phase("lora"), cost.phase_of_its_own("encode"):
        cost.count(1, grad=False)
    assert set(cost.phases) == {"lora"}
    with cost.phase("other"), cost.phase_of_its_own("encode"):
        cost.count(1, grad=False)
    assert cost.of("encode").unet_calls == 1


def test_the_place_is_the_phase_and_its_evaluations():
    cost = Cost()
    assert cost.place() == "phase other, after 0 UNet evaluations"
    with cost.phase("drag"):
        cost.count(3, grad=True)
        assert cost.place() == "phase drag, after 1 UNet evaluations"


@pytest.mark.parametrize("method", [DragDiffusion(max_steps=1, lora=None), SdeDrag(steps=4, t0=0.5, lora=None)])
def test_kind_20_every_clock_runs_from_encoding_to_the_decoded_picture(golden_core, golden_sample, monkeypatch, method):
    core, sample = golden_core(num_inference_steps=4), golden_sample("cat").resized((64, 64))
    core.embed(""), core.embed(sample.prompt)
    pause = 0.3
    encode, decode = core.vae.encode, core.vae.decode
    monkeypatch.setattr(core.vae, "encode", lambda picture: time.sleep(pause) or encode(picture))
    monkeypatch.setattr(core.vae, "decode", lambda latents: time.sleep(pause) or decode(latents))
    core.start_edit()
    started = time.perf_counter()
    method.edit(core, sample)
    elapsed = time.perf_counter() - started
    booked = sum(phase.seconds for phase in core.cost.phases.values())
    assert core.cost.of("decode").seconds >= pause
    assert 2 * pause < booked <= elapsed
    # What is booked without the two would be shorter by their pauses.
    assert booked > elapsed - pause


needs_resettable_peak = pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="this system cannot reset the peak of a process"
)


@needs_resettable_peak
def test_kind_20_peak_memory_is_that_of_the_edit():
    device = torch.device("cpu")
    reset_peak_memory(device)
    before = peak_memory_mb(device)
    block = torch.ones(64 * 2**20)
    grown = peak_memory_mb(device)
    assert grown >= before + 0.9 * block.nbytes / 2**20
    del block
    reset_peak_memory(device)
    assert peak_memory_mb(device) < grown - 200


def test_kind_20_peak_memory_is_empty_where_it_cannot_be_reset(monkeypatch, tmp_path):
    monkeypatch.setattr("rotationbench.diffusion.cost.CLEAR_REFS", tmp_path / "absent" / "clear_refs")
    reset_peak_memory(torch.device("cpu"))
    assert peak_memory_mb(torch.device("cpu")) is None
