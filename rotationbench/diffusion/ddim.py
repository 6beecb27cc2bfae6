"""DDIM (Song et al., arXiv 2010.02502): the schedule of Stable Diffusion, and the step of eq. 12 with η = 0."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import DDIMScheduler


def ddim_scheduler(num_inference_steps: int, dtype: torch.dtype) -> DDIMScheduler:
    """The noise schedule that Stable Diffusion was trained with, over `num_inference_steps` evenly spaced timesteps.

    Its table of ᾱ is of the number type `dtype`: diffusers makes it in float32, and what is computed from it is to be
    computed in that of the latents.
    """
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        num_train_timesteps=1000,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="leading",
    )
    scheduler.set_timesteps(num_inference_steps)
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.to(dtype)
    scheduler.final_alpha_cumprod = scheduler.final_alpha_cumprod.to(dtype)
    return scheduler


def predicted_x0(latents: torch.Tensor, noise: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """The clean latent that `noise` implies at the level with cumulative product `alpha` = ᾱ.

    x0 = (z − √(1 − ᾱ)·ε) / √ᾱ; all latents `(B, C, h, w)`.

    >>> predicted_x0(torch.tensor(2.0), torch.tensor(1.0), torch.tensor(0.25)).item()
    2.267949...
    """
    return (latents - (1 - alpha).sqrt() * noise) / alpha.sqrt()


def ddim_step(
    latents: torch.Tensor, noise: torch.Tensor, alpha_from: torch.Tensor, alpha_to: torch.Tensor
) -> torch.Tensor:
    """Move latents from the level ᾱ = `alpha_from` to `alpha_to` along the predicted noise, up or down.

    z' = √ᾱ'·x0 + √(1 − ᾱ')·ε; all latents `(B, C, h, w)`.

    >>> ddim_step(torch.tensor(2.0), torch.tensor(0.0), torch.tensor(0.25), torch.tensor(1.0)).item()
    4.0
    """
    x0 = predicted_x0(latents, noise, alpha_from)
    return alpha_to.sqrt() * x0 + (1 - alpha_to).sqrt() * noise


def draw_noise(shape: Sequence[int], generator: torch.Generator, like: torch.Tensor) -> torch.Tensor:
    """Standard normal noise of `shape`, on the device and in the number type of `like`.

    It is drawn in float32 on the CPU and then cast, so that a seed means the same on every device and in every number
    type.
    """
    return torch.randn(tuple(shape), generator=generator, dtype=torch.float32).to(like)


def evenly_spread(timesteps: Sequence[int], count: int) -> list[int]:
    """`count` of the timesteps in their order, as evenly spread as can be, the last among them; all when there are few.

    >>> evenly_spread([1, 101, 201, 301, 401], 2)
    [101, 401]
    """
    count = min(count, len(timesteps))
    return [timesteps[index * len(timesteps) // count - 1] for index in range(1, count + 1)]
