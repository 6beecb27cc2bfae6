from __future__ import annotations

import time

import pytest
import torch

from rotationbench.diffusion.cost import Cost, PhaseCost, peak_memory_mb


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


def test_peak_memory_sees_an_allocation():
    before = peak_memory_mb(torch.device("cpu"))
    block = torch.ones(64 * 2**20)
    assert peak_memory_mb(torch.device("cpu")) >= before
    assert peak_memory_mb(torch.device("cpu")) > block.nbytes / 2**20
