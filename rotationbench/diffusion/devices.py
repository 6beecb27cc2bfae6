"""Where to compute, and in which number type."""

from __future__ import annotations

import torch

from rotationbench.errors import ConfigError

DTYPES = {"fp64": torch.float64, "fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
DEVICE_TYPES = ("cpu", "cuda")
"""Devices that the core is tested on; on others it would fail in the middle of an edit, or compute something else."""


def resolve_device(name: str) -> torch.device:
    """The device behind a setting; `"auto"` is CUDA where there is one.

    Args:
        name: `"auto"`, `"cpu"`, `"cuda"` or a numbered device such as `"cuda:1"`.

    Raises:
        ConfigError: when the name is another one, or the device is absent.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise ConfigError(f"device: expected auto, cpu or cuda, got {name!r}.") from error
    if device.type not in DEVICE_TYPES:
        raise ConfigError(f"device: expected auto, cpu or cuda, got {name!r}.")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count == 0:
            raise ConfigError(f"device: expected a CUDA device, got {name!r}: torch sees no GPU on this machine.")
        if device.index is not None and device.index >= count:
            raise ConfigError(f"device: expected cuda:0 to cuda:{count - 1}, got {name!r}.")
    elif device.index:
        raise ConfigError(f"device: expected cpu, got {name!r}: there is only one.")
    return device


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """The number type behind a setting; `"auto"` is fp16 on CUDA and fp32 elsewhere.

    Raises:
        ConfigError: when the name is unknown.
    """
    if name == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    if name not in DTYPES:
        raise ConfigError(f"dtype: expected auto, {', '.join(DTYPES)}, got {name!r}.")
    return DTYPES[name]
