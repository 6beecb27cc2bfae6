"""The Stable Diffusion core that every method shares.

Its names are imported when they are asked for: the libraries behind them take seconds, and settings and tables, which
use other modules of this package, need none of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rotationbench.diffusion.core import StableDiffusion
    from rotationbench.diffusion.lora import LoraSettings

__all__ = ["LoraSettings", "StableDiffusion"]

MODULES = {"LoraSettings": "lora", "StableDiffusion": "core"}


def __getattr__(name: str) -> Any:
    """The class of that name."""
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{MODULES[name]}"), name)
