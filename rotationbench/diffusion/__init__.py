"""The Stable Diffusion core that every method shares.

Its names are imported when they are asked for: the libraries behind them take seconds, and settings and tables, which
use other modules of this package, need none of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rotationbench.diffusion.core import StableDiffusion
    from rotationbench.diffusion.lora import LoraSettings, attached_lora

__all__ = ["LoraSettings", "StableDiffusion", "attached_lora"]

MODULES = {"LoraSettings": "lora", "StableDiffusion": "core", "attached_lora": "lora"}


def __getattr__(name: str) -> Any:
    """What has that name."""
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{MODULES[name]}"), name)
