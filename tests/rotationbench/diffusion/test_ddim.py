from __future__ import annotations

import numpy as np
import pytest
import torch

from rotationbench.diffusion.ddim import ddim_scheduler, ddim_step, draw_noise, predicted_x0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_schedule_is_the_one_of_stable_diffusion(dtype):
    scheduler = ddim_scheduler(5, dtype)
    assert scheduler.timesteps.tolist() == [801, 601, 401, 201, 1]
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    assert scheduler.alphas_cumprod.dtype == scheduler.final_alpha_cumprod.dtype == dtype
    np.testing.assert_allclose(scheduler.alphas_cumprod.numpy(), np.cumprod(1 - betas), rtol=1e-4)
    assert scheduler.final_alpha_cumprod == scheduler.alphas_cumprod[0]


def test_a_ddim_step_keeps_the_predicted_picture_and_noise():
    generator = torch.Generator().manual_seed(0)
    x0, noise = torch.randn(2, 1, 4, 8, 8, generator=generator, dtype=torch.float64)
    low, high = torch.tensor(0.9, dtype=torch.float64), torch.tensor(0.2, dtype=torch.float64)
    noised = low.sqrt() * x0 + (1 - low).sqrt() * noise
    torch.testing.assert_close(predicted_x0(noised, noise, low), x0)
    torch.testing.assert_close(ddim_step(noised, noise, low, high), high.sqrt() * x0 + (1 - high).sqrt() * noise)


def test_noise_is_that_of_its_seed_in_every_number_type():
    draws = [
        draw_noise((2, 4, 8, 8), torch.Generator().manual_seed(3), torch.zeros(1, dtype=dtype))
        for dtype in (torch.float32, torch.float64, torch.bfloat16)
    ]
    assert [draw.dtype for draw in draws] == [torch.float32, torch.float64, torch.bfloat16]
    assert torch.equal(draws[0].double(), draws[1])
    assert torch.equal(draws[0].bfloat16(), draws[2])
    assert abs(draws[0].mean()) < 0.2 and abs(draws[0].std() - 1) < 0.2
