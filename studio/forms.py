"""Forms from the methods' own dataclasses: types, defaults, descriptions, ranges."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from rotationbench.config import build_method
from rotationbench.errors import ConfigError, RotationBenchError
from rotationbench.method import DragMethod, needs_model
from rotationbench.settings import Rule, noted_rules

KINDS: dict[type, str] = {bool: "switch", int: "whole", float: "number", str: "text"}
LARGEST_DEPTH = 6


@dataclass(frozen=True)
class OfferedMethod:
    """A method of `conf/method` as it is set up for the model.

    Args:
        name: what `method=` calls it.
        defaults: its composed settings, `_target_` among them.
        config: the same as the command line has them.
        form: what the page makes a form from, which begins with `config`.
    """

    name: str
    defaults: dict[str, Any]
    config: dict[str, Any]
    form: dict[str, Any]


def offered_methods(overrides: Sequence[str]) -> dict[str, OfferedMethod]:
    """Every method that the configuration knows, by name; those that cannot be built are left out.

    Args:
        overrides: those of the command line. Settings of a method belong to the one that is chosen there. Hydra must be
            initialised, as it is inside a task.

    Raises:
        ConfigError: when a method cannot be built with the settings of the command line.
    """
    names = GlobalHydra.instance().config_loader().get_group_options("method")
    chosen = compose("config", overrides=list(overrides), return_hydra_config=True).hydra.runtime.choices.method
    kept = [override for override in overrides if override.lstrip("+~").partition("=")[0].partition(".")[0] != "method"]
    offered = {}
    for name in sorted(names):
        defaults = config = _settings([*kept, f"method={name}"])
        if name == chosen:
            config = _settings(overrides)
        try:
            offered[name] = OfferedMethod(name, defaults, config, form_of(name, config))
        except RotationBenchError:
            if config != defaults:
                raise
    return offered


def _settings(overrides: Sequence[str]) -> dict[str, Any]:
    """The composed settings of the method that overrides choose."""
    settings = OmegaConf.to_container(compose("config", overrides=list(overrides)).method, resolve=True)
    assert isinstance(settings, dict)
    return {str(key): value for key, value in settings.items()}


def chosen_method(offered: OfferedMethod, changes: Mapping[str, Any]) -> tuple[DragMethod, dict[str, Any]]:
    """The method with the page's changes to its settings, and its configuration.

    Args:
        offered: the method.
        changes: values by field; nested ones for a group of fields.

    Raises:
        ConfigError: when a key or value is wrong.
    """
    check_plain(changes, "method")
    known = set(offered.config) - {"name"}
    for key in changes:
        if key not in known or key.startswith("_"):
            raise ConfigError(f"method.{key:.60}: expected a setting of {offered.name}, got another.")
    config = _merged(offered.config, changes)
    return build_method(config), config


def check_plain(value: Any, key: str, depth: int = 0) -> None:
    """Refuse what is no plain value: a configuration's own language could read files or the environment.

    Raises:
        ConfigError: with the key.
    """
    if isinstance(value, str) and ("${" in value or len(value) > 1000):
        raise ConfigError(f"{key}: expected a short text without '${{', got {value[:40]!r}.")
    if depth > LARGEST_DEPTH:
        raise ConfigError(f"{key}: expected at most {LARGEST_DEPTH} levels, got more.")
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if not str(name).isidentifier() or str(name).startswith("_"):
                raise ConfigError(f"{key}: expected names of settings, got {str(name)[:40]!r}.")
            check_plain(inner, f"{key}.{name}", depth + 1)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            check_plain(inner, f"{key}[{index}]", depth + 1)


def _merged(before: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(before)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def form_of(name: str, config: dict[str, Any]) -> dict[str, Any]:
    """What the page makes a form from.

    Args:
        name: what `method=` calls the method.
        config: its composed settings.

    Returns:
        Name and description of the method, whether it needs the model, and its fields. A field has a key, a
        kind (`whole`, `number`, `switch`, `text`, `choice`, `group` or `other`), a default, what its docstring says,
        its range or choices, and whether it may be null; a group has fields of its own.
    """
    with noted_rules() as rules:
        method = build_method(config)
    kind = type(method)
    return {
        "name": name,
        "about": _paragraphs(inspect.getdoc(inspect.getmodule(kind)) or ""),
        "needs_model": needs_model(method),
        "fields": _fields(kind, method, "method", rules),
    }


def _fields(kind: type, instance: Any, section: str, rules: Mapping[str, Rule]) -> list[dict[str, Any]]:
    hints, documented = typing.get_type_hints(kind), documented_arguments(kind)
    described = []
    for item in fields(kind):
        inner, nullable = _unwrapped(hints[item.name])
        default = getattr(instance, item.name)
        field: dict[str, Any] = {
            "key": item.name,
            "nullable": nullable,
            "doc": documented.get(item.name, ""),
            "default": default,
        }
        rule = rules.get(f"{section}.{item.name}")
        if is_dataclass(inner) and isinstance(inner, type):
            with noted_rules() as own:
                shown = inner() if default is None else default
            # A group's own checks name its keys with or without the method in front.
            section_of_group = item.name if any(key.startswith(f"{item.name}.") for key in (*own, *rules)) else ""
            inner_section = section_of_group or f"{section}.{item.name}"
            field |= {
                "kind": "group",
                "default": default is not None,
                "fields": _fields(inner, shown, inner_section, {**rules, **own}),
            }
        elif rule is not None and rule.choices is not None:
            field |= {"kind": "choice", "choices": list(rule.choices)}
        else:
            field["kind"] = KINDS.get(inner, "other")
            if rule is not None:
                field |= {"low": rule.low, "high": rule.high, "above": rule.above}
        described.append(field)
    return described


def _unwrapped(hint: Any) -> tuple[Any, bool]:
    """The type in an optional one, and whether it is optional."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        inner = [part for part in typing.get_args(hint) if part is not type(None)]
        return (inner[0] if len(inner) == 1 else Any), len(inner) < len(typing.get_args(hint))
    return hint, False


def documented_arguments(kind: type) -> dict[str, str]:
    """What the docstrings of a class and of its bases say about each argument."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        text = inspect.cleandoc(base.__doc__ or "")
        section = re.search(r"^Args:\n((?:[ ]+.*\n?|\n)+)", text, flags=re.MULTILINE)
        if section is None:
            continue
        for match in re.finditer(r"^ {4}(\w+(?:, \w+)*): (.*(?:\n {8,}.*)*)", section[1], flags=re.MULTILINE):
            found |= dict.fromkeys(match[1].split(", "), _plain(" ".join(match[2].split())))
    return found


def _paragraphs(text: str) -> list[str]:
    return [_plain(" ".join(paragraph.split())) for paragraph in text.split("\n\n")]


def _plain(text: str) -> str:
    """Docstring markup taken off."""
    return text.replace("`", "")
