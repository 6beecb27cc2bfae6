"""Checks that settings share: numbers are finite, of a sane size, and inside their range."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from rotationbench.errors import ConfigError

LARGEST_NUMBER = 2**32 - 1
"""No setting needs more, and what lies beyond overflows in one place or another; the largest seed is just this."""


@dataclass(frozen=True)
class Rule:
    """What a check asks of a setting, for those who want to tell it before anything is entered.

    Args:
        low: the smallest value; None is no limit.
        high: the largest value; None is no limit.
        above: whether `low` itself is too small.
        choices: the values there are; None means a number.
    """

    low: float | None = None
    high: float | None = None
    above: bool = False
    choices: tuple[Any, ...] | None = None


_noted: ContextVar[dict[str, Rule] | None] = ContextVar("noted rules", default=None)


@contextmanager
def noted_rules() -> Iterator[dict[str, Rule]]:
    """Inside the block, the checks below leave what they ask for in what is yielded, by the keys of their messages.

    >>> with noted_rules() as rules:
    ...     check_share("method.t0", 0.5)
    >>> rules["method.t0"]
    Rule(low=0, high=1, above=True, choices=None)
    """
    rules: dict[str, Rule] = {}
    token = _noted.set(rules)
    try:
        yield rules
    finally:
        _noted.reset(token)


def note_rule(key: str, rule: Rule) -> None:
    """Leave a rule for `noted_rules`, where somebody asks for them."""
    rules = _noted.get()
    if rules is not None:
        rules[key] = rule


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
        note_rule(_key(section, name), Rule(low=0, above=True))
        _check(settings, name, section, "a positive number", lambda value: value > 0)


def check_not_negative(settings: object, *names: str, section: str = "method") -> None:
    """Refuse fields that are not finite, or negative; see `check_positive`."""
    for name in names:
        note_rule(_key(section, name), Rule(low=0))
        _check(settings, name, section, "zero or a positive number", lambda value: value >= 0)


def check_between(settings: object, low: float, high: float | None, *names: str, section: str = "method") -> None:
    """Refuse fields outside `low` to `high`, both included, where None is no limit; see `check_positive`."""
    wanted = f"at least {low}" if high is None else f"{low} to {high}"
    for name in names:
        note_rule(_key(section, name), Rule(low=low, high=high))
        _check(settings, name, section, wanted, lambda value: low <= value and (high is None or value <= high))


def check_share(key: str, value: float) -> None:
    """Refuse a value outside (0, 1].

    Raises:
        ConfigError: with the key.
    """
    note_rule(key, Rule(low=0, high=1, above=True))
    if not 0 < value <= 1:
        raise ConfigError(f"{key}: expected more than 0 and at most 1, got {value}.")


def check_choice(settings: object, choices: Collection[str], *names: str, section: str = "method") -> None:
    """Refuse fields that are none of `choices`; see `check_positive`."""
    for name in names:
        value = getattr(settings, name)
        note_rule(_key(section, name), Rule(choices=tuple(choices)))
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
