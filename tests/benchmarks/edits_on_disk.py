"""Edits as the benchmark leaves them, with the costs and paths that a test wants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rotationbench.diffusion.cost import Cost, PhaseCost
from rotationbench.results import SCHEMA, Edit, ResultStore
from rotationbench.results.record import cost_record


def save_edit(
    root: Path,
    label: str,
    sample: str,
    *,
    phases: dict[str, PhaseCost] | None = None,
    path: list[Any] | None = None,
    grey: int = 0,
    **changes: object,
) -> Edit:
    """An edit by `label` that cost `phases`, moved its handles along `path` and made a grey picture."""
    record = {
        "schema": SCHEMA,
        "status": "done",
        "error": None,
        "method": label,
        "label": label,
        "variant": label,
        "seed": 0,
        "sample": {"name": sample, "digest": "0" * 64},
        "identity": {},
        "fingerprint": "0" * 64,
        "steps": 3,
        "peak_memory_mb": 100.0,
        "final_distances": [2.0],
        "distance_left": [4.0, 2.0],
        "trajectory": path or [[[0.0, 0.0]]],
        **cost_record(Cost(phases or {"drag": PhaseCost(1.0, 10, 10)})),
    }
    return ResultStore(root).save(record | changes, image=np.full((2, 2, 3), grey, np.uint8))
