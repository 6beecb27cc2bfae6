"""What a `record.json` must hold before anything relies on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

READABLE_SCHEMAS = (1, 2)
STATUSES = ("done", "failed")

NUMBER = (int, float)
UNKNOWN = type(None)
Kinds = Mapping[str, tuple[type, ...]]

REQUIRED: Kinds = {
    "status": (str,),
    "method": (str,),
    "label": (str,),
    "seed": (int,),
    "sample": (dict,),
    "identity": (dict,),
    "fingerprint": (str,),
    "files": (dict,),
}
REQUIRED_WHEN_DONE: Kinds = {
    "seconds": (*NUMBER, UNKNOWN),
    "phases": (dict,),
    "unet_calls": (int, UNKNOWN),
    "unet_images": (int, UNKNOWN),
    "steps": (int, UNKNOWN),
    "final_distances": (list,),
    "distance_left": (list,),
}
REQUIRED_WHEN_FAILED: Kinds = {"error": (dict,)}
OPTIONAL: Kinds = {
    **dict.fromkeys(("variant", "started", "finished", "weights_hash", "model_hash", "note"), (str,)),
    **dict.fromkeys(("config", "versions", "sizes", "remake"), (dict,)),
    **dict.fromkeys(("converged", "unchanged", "unmoved"), (bool,)),
    **dict.fromkeys(("trajectory", "axis"), (list,)),
    "unet_grad_calls": (int,),
    "peak_memory_mb": NUMBER,
}
"""What older records lack, and what may be unknown (None)."""
SAMPLE: Kinds = {
    **dict.fromkeys(("digest", "full_digest", "state", "split", "category"), (str,)),
    **dict.fromkeys(("height", "width", "pairs", "handles"), (int,)),
    "angle": NUMBER,
}
POINTS = {"trajectory": 3, "axis": 2}
"""Lists of points, and how many levels of lists they are."""


def check_record(record: Any) -> str | None:
    """What keeps the content of a `record.json` from being used, as a sentence; None when nothing does."""
    if not isinstance(record, dict):
        return f"expected a record, got {_kind(record)}."
    schema = record.get("schema")
    if schema not in READABLE_SCHEMAS:
        return f"expected a record of schema {' or '.join(map(str, READABLE_SCHEMAS))}, got {schema!r:.50}."
    done = record.get("status") == "done"
    required = {**REQUIRED, **(REQUIRED_WHEN_DONE if done else REQUIRED_WHEN_FAILED)}
    missing = next((key for key in required if key not in record), None)
    if missing is not None:
        return f"expected the key {missing!r}, got none."
    optional = {key: (*kinds, UNKNOWN) for key, kinds in OPTIONAL.items()}
    if fault := _fault(record, {**required, **optional}):
        return fault
    if record["status"] not in STATUSES:
        return f"status: expected {' or '.join(STATUSES)}, got {record['status']!r:.50}."
    of_sample = {key: (*kinds, UNKNOWN) for key, kinds in SAMPLE.items()}
    if fault := _fault(record["sample"], {"name": (str,), **of_sample}, "sample."):
        return fault
    for key in ("error", "remake"):
        if record.get(key) is not None and (fault := _fault(record[key], {"message": (str,)}, f"{key}.")):
            return fault
    if not all(isinstance(value, str) and name == name.strip("./") for name, value in record["files"].items()):
        return "files: expected hashes of files beside the record, got something else."
    return _fault_of_numbers(record) if done else None


def _fault_of_numbers(record: Mapping[str, Any]) -> str | None:
    for key in ("final_distances", "distance_left"):
        if not all(map(_is_number, record[key])):
            return f"{key}: expected finite numbers, got something else."
    if not all(map(_is_number, record["phases"].values())):
        return "phases: expected seconds, got something else."
    for key, levels in POINTS.items():
        value = record.get(key)
        if value and not _are_points(value, levels):
            return f"{key}: expected finite points [x, y], got something else."
    return None


def _fault(content: Mapping[str, Any], wanted: Kinds, where: str = "") -> str | None:
    """The first of the keys that `content` has with a value of another kind than is wanted, or a number without end."""
    for key, kinds in wanted.items():
        value = content.get(key)
        if key not in content and UNKNOWN in kinds:
            continue
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            names = " or ".join("nothing" if kind is UNKNOWN else kind.__name__ for kind in kinds)
            return f"{where}{key}: expected {names}, got {_kind(value)}."
        if isinstance(value, NUMBER) and not _is_number(value):
            return f"{where}{key}: expected a finite number, got {value!r:.50}."
    return None


def _is_number(value: object) -> bool:
    """Whether tables can hold a value as a number: whole numbers beyond 64 bits they cannot."""
    return isinstance(value, NUMBER) and abs(value) < 2**63


def _are_points(value: list[Any], levels: int) -> bool:
    try:
        points = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return False
    return points.ndim == levels and points.shape[-1] == 2 and bool(np.isfinite(points).all())


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
