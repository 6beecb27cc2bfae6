"""The Stable Diffusion core that every method shares."""

from rotationbench.diffusion.core import StableDiffusion
from rotationbench.diffusion.lora import LoraSettings

__all__ = ["LoraSettings", "StableDiffusion"]
