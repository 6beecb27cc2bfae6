"""`record.json`: what an edit was made of and with, how it went, and what must be the same for it to count again."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from rotationbench.diffusion.cost import Cost
from rotationbench.method import DragResult
from rotationbench.paths import project_root
from rotationbench.points import GridPoints, ImagePoints
from rotationbench.sample import DragSample

SCHEMA = 2
PACKAGES = ("torch", "torchvision", "diffusers", "transformers", "peft", "numpy", "opencv-python", "rotationbench")

SETTING_OF = {
    "method_class": "method._target_",
    "resolution": "model.resolution",
    "num_inference_steps": "model.num_inference_steps",
    "attention": "model.attention",
}
"""The settings behind parts of an edit's identity that have other names."""
WEIGHTS = ("pretrained", "vae", "single_file_config")
"""Settings of the model that say which weights are read."""
MEASURED = (
    "seconds",
    "phases",
    "phase_unet_calls",
    "unet_calls",
    "unet_images",
    "unet_grad_calls",
    "peak_memory_mb",
    "steps",
    "converged",
    "final_distances",
    "distance_left",
    "trajectory",
    "axis",
    "unchanged",
    "unmoved",
)
"""What a record says about an edit that was made; nothing of it is known of a failed one."""


def fingerprint(identity: dict[str, Any]) -> str:
    """SHA-256 of what decides an edit; two edits with the same one are the same edit."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def changes(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """What changed from one nested dictionary to another, one `key: old → new` each.

    >>> changes({"lora": {"steps": 60}, "seed": 0}, {"lora": {"steps": 80}, "seed": 0})
    ['lora.steps: 60 → 80']
    """
    found: list[str] = []
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            found += changes(before, after, f"{prefix}{key}.")
        elif before != after:
            found.append(f"{prefix}{key}: {_short(before)} → {_short(after)}")
    return found


def changed_settings(record: Mapping[str, Any], identity: Mapping[str, Any], model: Mapping[str, Any]) -> list[str]:
    """The settings in which an edit on disk differs from one that would be made, one `key: old → new` each.

    The seed is left out, as are changes of files and of the code: another sample, other weights behind the same settings,
    another version of the method. What only one of the two knows of is no difference.

    Args:
        record: that of the edit on disk.
        identity: what decides the edit that would be made, as far as it is known yet.
        model: the settings of the model that it would be made with.
    """
    old, new = _in_common(record["identity"], json.loads(json.dumps(identity)))
    other_weights = old.get("model") != new.get("model")
    for part in (old, new):
        for key in ("sample", "seed", "method_version", "model"):
            part.pop(key, None)
        for key in SETTING_OF.keys() & part.keys():
            part[SETTING_OF[key]] = part.pop(key)
    found = changes(old, new)
    if other_weights:
        old, new = _in_common((record.get("config") or {}).get("model") or {}, model)
        found += [change for key in WEIGHTS for change in changes({key: old.get(key)}, {key: new.get(key)}, "model.")]
    return found


def _in_common(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both with the keys alone that both have, also in nested mappings."""
    left: dict[str, Any] = {}
    right: dict[str, Any] = {}
    for key in first.keys() & second.keys():
        left[key], right[key] = first[key], second[key]
        if isinstance(first[key], Mapping) and isinstance(second[key], Mapping):
            left[key], right[key] = _in_common(first[key], second[key])
    return left, right


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:12]}…"


def sample_record(name: str, sample: DragSample | None, state: str | None = None) -> dict[str, Any]:
    """What a record says about the sample; only its name when it could not be read.

    Args:
        name: the sample's name.
        sample: the sample at its own size.
        state: what its files looked like from outside when it was read; see `Benchmark`.
    """
    if sample is None:
        keys = ("digest", "full_digest", "state", "split", "category", "angle", "height", "width", "pairs", "handles")
        return {"name": name} | dict.fromkeys(keys)
    return {
        "name": name,
        "digest": sample.digest,
        "full_digest": sample.full_digest,
        "state": state,
        "split": sample.meta.split,
        "category": sample.meta.category,
        "angle": sample.meta.angle,
        "height": sample.size[0],
        "width": sample.size[1],
        "pairs": len(sample.sources),
        "handles": int((~sample.is_pivot).sum()),
    }


def result_record(
    result: DragResult, sample: DragSample, working: tuple[int, int], edited: np.ndarray
) -> dict[str, Any]:
    """What a record says about an edit that was made; points and distances in pixels of the sample's picture.

    Distances leave pivot pairs out, also those of methods that drag them like others: so they compare between methods.
    `unchanged` marks an edit that equals its source, `unmoved` one whose handles were never anywhere else.

    Args:
        result: what the method returned.
        sample: the sample at its own size.
        working: the size `(height, width)` at which the method worked.
        edited: uint8 `(H, W, 3)`, the edited picture at the sample's size.
    """
    moving = ~sample.is_pivot if len(result.targets) == len(sample.sources) else slice(None)

    def in_picture(points: GridPoints) -> ImagePoints:
        return points.to_image(working).rescaled(working, sample.size)

    def distances(handles: GridPoints) -> np.ndarray:
        return np.linalg.norm(in_picture(handles).xy - in_picture(result.targets).xy, axis=1)[moving]

    places = np.stack([in_picture(points).xy[moving] for points in result.trajectory])
    return {
        "status": "done",
        "error": None,
        "steps": result.steps,
        "converged": result.converged,
        "final_distances": distances(result.trajectory[-1]).tolist(),
        "distance_left": [float(distances(handles).mean()) for handles in result.trajectory],
        "trajectory": [in_picture(points).xy.tolist() for points in result.trajectory],
        "axis": None if result.axis is None else in_picture(result.axis).xy.tolist(),
        "unchanged": bool(np.array_equal(edited, sample.image)),
        "unmoved": bool((places == places[0]).all()),
    }


def cost_record(cost: Cost) -> dict[str, Any]:
    """The cost of an edit from scratch: what came from a cache is charged with what it once cost.

    `seconds`, `unet_calls`, `unet_images` and `unet_grad_calls` leave the training of the LoRA out, which methods
    share; it has a phase of its own.
    """
    edit = [phase for name, phase in cost.phases.items() if name != "lora"]
    return {
        "seconds": sum(phase.seconds for phase in edit),
        "phases": {name: phase.seconds for name, phase in cost.phases.items()},
        "phase_unet_calls": {name: phase.unet_calls for name, phase in cost.phases.items()},
        "unet_calls": sum(phase.unet_calls for phase in edit),
        "unet_images": sum(phase.unet_images for phase in edit),
        "unet_grad_calls": sum(phase.unet_grad_calls for phase in edit),
    }


def unknown_cost() -> dict[str, Any]:
    """What a record says about an edit of which only the picture is known: how it came about is unknown, not free."""
    empty: dict[str, Any] = {"phases": {}, "phase_unet_calls": {}, "final_distances": [], "distance_left": [], "trajectory": []}
    return {"status": "done", "error": None} | dict.fromkeys(MEASURED) | empty


def failed_record(failure: dict[str, str]) -> dict[str, Any]:
    """What a record says about an edit that could not be made."""
    return {"status": "failed", "error": failure} | dict.fromkeys(MEASURED)


@lru_cache(maxsize=1)
def environment() -> dict[str, Any]:
    """The versions of everything that computes, and the commit of the checkout where there is one."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "versions": versions,
        "commit": _commit(),
        "platform": platform.platform(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _commit() -> str | None:
    if not (project_root() / ".git").exists():
        # An installed package may lie below another project's checkout.
        return None
    command = ["git", "-C", str(project_root()), "rev-parse", "HEAD"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return answer.stdout.strip() or None
