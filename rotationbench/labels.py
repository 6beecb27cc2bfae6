"""Labels: what edits are filed under, so that edits of different settings never come to lie in one place.

A label is the variant with the seed behind it. The variant is the label that the user gives or, without one, the
method's name with the settings that a sweep varies. Edits of one variant differ in nothing but the seed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode

from rotationbench.names import LONGEST_NAME_BYTES

NOT_OF_THE_EDIT = (
    "seed",
    "label",
    "results_dir",
    "cache_dir",
    "limit",
    "samples",
    "overwrite",
    "save_latents",
    "metrics",
    "evaluator",
    "engine",
    "workers",
    "shard",
    "locks",
    "task",
    "data",
)
"""Parts of the configuration that do not change an edit, or that a repeated measure is meant to differ in."""
NOT_IN_LABELS = (*NOT_OF_THE_EDIT, "method", "device", "sheet_rows", "sheet_pages")
"""The same, with what says how edits are made or shown, and with the method, whose name the label begins with."""
LONGEST_PART = 80
LONGEST_SEED = len(f"-seed{2**32}")


def overrides_of_sweep(settings: Sequence[str]) -> list[str]:
    """What a sweep must be told beside its settings, so that each of its jobs knows which of them are varied.

    It is Hydra's own list of what `hydra.job.override_dirname` leaves out.

    Args:
        settings: overrides as given on the command line.

    Raises:
        HydraException: when they cannot be read.
    """
    overrides = OverridesParser.create().parse_overrides(list(settings))
    constant = [override.key_or_group for override in overrides if not override.is_sweep_override()]
    return [f"hydra.job.config.override_dirname.exclude_keys={json.dumps(constant)}"] if constant else []


def swept_settings() -> dict[str, str]:
    """The settings that the running sweep varies, with the values of this job as text; none outside a sweep."""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return {}
    job = HydraConfig.get()
    constant = set(job.job.config.override_dirname.exclude_keys)
    overrides = OverridesParser.create().parse_overrides(list(job.overrides.task))
    return {
        override.key_or_group: override.get_value_element_as_str()
        for override in overrides
        if override.key_or_group not in constant
    }


def variant_name(method: str, swept: Mapping[str, str]) -> str:
    """The method's name with the settings that decide an edit and are varied, those of the method without `method.`.

    What cannot stand in a folder's name is replaced, and told apart by a hash of the text.

    >>> variant_name("rotationdrag", {"method": "rotationdrag", "method.rotation": "released", "seed": "1"})
    'rotationdrag-rotation=released'
    >>> variant_name("rotationdrag", {"model.pretrained": "my/weights"})
    'rotationdrag-model.pretrained=my_weights-6dd777'
    """
    shown = {key: value for key, value in swept.items() if not _is_in(key, NOT_IN_LABELS) or key.startswith("method.")}
    parts = [_readable(f"{key.removeprefix('method.')}={value}") for key, value in shown.items()]
    name = "-".join([method, *parts])
    if len(name.encode()) > LONGEST_NAME_BYTES - LONGEST_SEED:
        name = f"{method}-{_hash(name)}"
    return name


def label_of(variant: str, seed: int) -> str:
    """The label of a variant's edits with a seed: seeds stand beside each other.

    >>> label_of("rotationdrag", 0), label_of("rotationdrag", 1)
    ('rotationdrag', 'rotationdrag-seed1')
    """
    return variant if seed == 0 else f"{variant}-seed{seed}"


def _is_in(key: str, sections: Collection[str]) -> bool:
    return key.partition(".")[0] in sections


def _readable(text: str) -> str:
    plain = re.sub(r"[\"']", "", text)
    name = re.sub(r"[^\w.,+=-]+", "_", plain)[:LONGEST_PART]
    return name if name == plain else f"{name}-{_hash(text)}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]
