"""State dicts from files, compared with what a network has before they are put in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file

from rotationbench.errors import CheckpointError

LARGEST_FILE_BYTES = 2**30
SHOWN_NAMES = 3


def read_state_dict(path: Path, shapes: Mapping[str, Sequence[int]], what: str) -> dict[str, torch.Tensor]:
    """The tensors of a file, `.safetensors` or what `torch.save` writes, on the CPU.

    Nothing in the file is executed.

    Args:
        path: the file.
        shapes: name and shape of every tensor that has to be there; there may be no other.
        what: what the tensors are, for messages.

    Returns:
        float32 tensors by name.

    Raises:
        CheckpointError: when the file cannot be read, or a tensor is missing, unknown, of another shape or number type,
            or not finite.
    """
    expected = f"{path}: expected the {len(shapes)} tensors of {what}"
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise ValueError(f"a file of {path.stat().st_size} bytes")
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpicklers and loaders raise what they like
        reason = (str(error).splitlines() or [""])[0]
        raise CheckpointError(f"{expected}, got: {type(error).__name__}: {reason}") from error
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{expected}, got {type(state).__name__}.")
    missing, unknown = [name for name in shapes if name not in state], [name for name in state if name not in shapes]
    if missing or unknown:
        parts = [f"{word} {_listing(names)}" for word, names in (("without", missing), ("with", unknown)) if names]
        raise CheckpointError(f"{expected}, got {len(state)}: {' and '.join(parts)}.")
    for name, shape in shapes.items():
        tensor = state[name]
        if not isinstance(tensor, torch.Tensor):
            raise CheckpointError(f"{expected}, got {type(tensor).__name__} as {name}.")
        if tuple(tensor.shape) != tuple(shape) or tensor.dtype != torch.float32:
            got = f"{tuple(tensor.shape)} of {tensor.dtype}"
            raise CheckpointError(f"{path}: {name}: expected {tuple(shape)} of torch.float32, got {got}.")
        if not tensor.isfinite().all():
            raise CheckpointError(f"{path}: {name}: expected finite numbers, got NaN or infinity.")
    return dict(state)


def _listing(names: Sequence[object]) -> str:
    shown = ", ".join(str(name)[:80] for name in names[:SHOWN_NAMES])
    return shown if len(names) <= SHOWN_NAMES else f"{shown} and {len(names) - SHOWN_NAMES} more"
