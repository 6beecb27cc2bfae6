"""The diffusion SDE of SDE-Drag (Nie et al., arXiv 2311.01410), which RegionDrag shares: its timesteps and its steps.

Noising over the timestep τ leads from τ to τ + Δ, denoising over τ leads from τ to τ − Δ, with Δ = T // steps. The
timesteps may be spaced otherwise, so that τ ± Δ need not be one of them.
"""

from __future__ import annotations

import torch
from diffusers import DPMSolverMultistepScheduler

from rotationbench.diffusion.core import StableDiffusion
from rotationbench.diffusion.ddim import predicted_x0


def share_of_steps(share: float, steps: int) -> int:
    """`share`·`steps`, rounded down; a product that misses a whole number by rounding counts as that number."""
    return int(round(share * steps, 6))


def noising_and_denoising(core: StableDiffusion, steps: int, count: int) -> tuple[list[int], list[int]]:
    """The timesteps of `count` noising steps, upwards, and of as many denoising steps, downwards.

    They are those of diffusers' `DPMSolverMultistepScheduler` as the checkpoint's own scheduler configuration sets it
    up, shifted by one against each other.

    Args:
        core: the diffusion model.
        steps: S, the steps from pure noise to the picture.
        count: fewer than `steps`.
    """
    scheduler = DPMSolverMultistepScheduler.from_config(core.scheduler_config)
    scheduler.set_timesteps(steps)
    timesteps = scheduler.timesteps.tolist()
    return timesteps[steps - count :][::-1], timesteps[steps - count - 1 : -1]


def alpha_at(core: StableDiffusion, timestep: int) -> torch.Tensor:
    """ᾱ at a training timestep; 1, no noise at all, below the first."""
    if timestep < 0:
        return torch.ones_like(core.alphas[0])
    return core.alphas[timestep]


def noised(latents: torch.Tensor, noise: torch.Tensor, alpha: torch.Tensor, alpha_next: torch.Tensor) -> torch.Tensor:
    """Latents `(B, C, h, w)` at the level ᾱ = `alpha` brought to the noisier `alpha_next` by fresh noise."""
    ratio = alpha_next / alpha
    return ratio.sqrt() * latents + (1 - ratio).sqrt() * noise


def sde_variance(alpha: torch.Tensor, alpha_previous: torch.Tensor) -> torch.Tensor:
    """σ² of the reverse SDE's step from ᾱ = `alpha` to `alpha_previous`: (1 − ᾱ')/(1 − ᾱ)·(1 − ᾱ/ᾱ')."""
    return (1 - alpha_previous) / (1 - alpha) * (1 - alpha / alpha_previous)


def sde_mean(
    latents: torch.Tensor, noise: torch.Tensor, alpha: torch.Tensor, alpha_previous: torch.Tensor
) -> torch.Tensor:
    """The mean of the reverse SDE's step: DDIM's eq. 12 (arXiv 2010.02502) with η = 1, without its noise.

    √ᾱ'·x0 + √(1 − ᾱ' − σ²)·ε; all latents `(B, C, h, w)`.
    """
    x0 = predicted_x0(latents, noise, alpha)
    variance = sde_variance(alpha, alpha_previous)
    return alpha_previous.sqrt() * x0 + (1 - alpha_previous - variance).sqrt() * noise
