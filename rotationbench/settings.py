"""Checks that settings share: numbers are finite, of a sane size, and inside their range."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

from rotationbench.errors import ConfigError

LARGEST_NUMBER = 2**32 - 1
"""No setting needs more, and what lies beyond overflows in one place or another; the largest seed is just this."""


def check_numbers(values: Any, key: str = "") -> None:
    """Refuse NaN, infinities and numbers beyond ±(2³² − 1) anywhere in nested settings.

    Args:
        values: a number, or mappings and lists of them; everything else passes.
        key: the key under which the user finds `values`.

    Raises:
        ConfigError: with the key of the first such number.
    """
    if isinstance(values, Mapping):
        for name, value in values.items():
            check_numbers(value, f"{key}.{name}" if key else str(name))
    elif isinstance(values, list | tuple):
        for index, value in enumerate(values):
            check_numbers(value, f"{key}[{index}]")
    elif isinstance(values, int | float) and not _is_sane(values):
        raise ConfigError(f"{key}: expected a finite number of at most {LARGEST_NUMBER}, got {_shown(values)}.")


def check_positive(settings: object, *names: str, section: str = "method") -> None:
    """Refuse fields that are not finite, or zero or negative.

    Args:
        settings: the dataclass.
        names: its fields.
        section: what the user's key has in front of the field's name; may be empty.

    Raises:
        ConfigError: with the key of the first such field.
    """
    for name in names:
        _check(settings, name, section, "a positive number", lambda value: value > 0)


def check_not_negative(settings: object, *names: str, section: str = "method") -> None:
    """Refuse fields that are not finite, or negative; see `check_positive`."""
    for name in names:
        _check(settings, name, section, "zero or a positive number", lambda value: value >= 0)


def check_between(settings: object, low: float, high: float | None, *names: str, section: str = "method") -> None:
    """Refuse fields outside `low` to `high`, both included, where None is no limit; see `check_positive`."""
    wanted = f"at least {low}" if high is None else f"{low} to {high}"
    for name in names:
        _check(settings, name, section, wanted, lambda value: low <= value and (high is None or value <= high))


def check_choice(settings: object, choices: Collection[str], *names: str, section: str = "method") -> None:
    """Refuse fields that are none of `choices`; see `check_positive`."""
    for name in names:
        value = getattr(settings, name)
        if value not in choices:
            raise ConfigError(f"{_key(section, name)}: expected {' or '.join(choices)}, got {value!r}.")


def _check(settings: object, name: str, section: str, wanted: str, fits: Callable[[float], bool]) -> None:
    value = getattr(settings, name)
    if not (_is_sane(value) and fits(value)):
        raise ConfigError(f"{_key(section, name)}: expected {wanted}, got {_shown(value)}.")


def _key(section: str, name: str) -> str:
    return f"{section}.{name}" if section else name


def _is_sane(value: float) -> bool:
    return not math.isnan(value) and abs(value) <= LARGEST_NUMBER


def _shown(value: float) -> str:
    """The number, an integer of many digits by their count: Python refuses to write out very long ones."""
    if isinstance(value, int) and abs(value) >= 10**20:
        return f"an integer of about {round(value.bit_length() * math.log10(2))} digits"
    return str(value)
