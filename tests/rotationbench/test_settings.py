"""Every number in every settings dataclass is finite, of a sane size and inside its range."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import pytest
from omegaconf import OmegaConf
from tests_helpers import compose_config

from rotationbench.config import BenchmarkConfig, ModelConfig, build_method, project_root, validated
from rotationbench.errors import ConfigError
from rotationbench.settings import (
    LARGEST_NUMBER,
    check_between,
    check_choice,
    check_not_negative,
    check_numbers,
    check_positive,
    noted_rules,
)

METHODS = sorted(file.stem for file in (project_root() / "conf" / "method").glob("*.yaml"))
UNUSABLE = (math.nan, math.inf, -math.inf, 1e300, 10**30, -(10**30))


def method_config(method: str) -> dict[str, Any]:
    return OmegaConf.to_container(compose_config(f"method={method}", "model=sd15").method, resolve=True)


def number_fields(settings: object, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The paths of all fields of nested dataclasses that take a number."""
    found = []
    for item in fields(settings):
        value = getattr(settings, item.name)
        if is_dataclass(value):
            found += number_fields(value, (*prefix, item.name))
        elif "float" in str(item.type) or "int" in str(item.type).replace("Points", ""):
            found.append((*prefix, item.name))
    return found


@pytest.mark.parametrize("method", METHODS)
def test_kind_16_no_number_of_a_method_may_be_unusable(method):
    config = method_config(method)
    paths = number_fields(build_method(config))
    for path in paths:
        for value in UNUSABLE:
            changed = OmegaConf.create(config)
            OmegaConf.update(changed, ".".join(path), value)
            with pytest.raises(ConfigError) as caught:
                build_method(OmegaConf.to_container(changed))
            message = str(caught.value)
            assert message.startswith(f"method.{'.'.join(path)}: "), message
            assert len(message) < 300


@dataclass(frozen=True)
class Example:
    share: float = 0.5
    count: int = 3
    kind: str = "a"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1, LARGEST_NUMBER + 1, 10**30])
@pytest.mark.parametrize(
    "check", [check_positive, check_not_negative, lambda *given: check_between(given[0], 0, None, *given[1:])]
)
@pytest.mark.parametrize("name", ["share", "count"])
def test_kind_16_checks_refuse_what_is_no_number_of_the_range(check, name, value):
    check(Example(), "share", "count")
    with pytest.raises(ConfigError, match=f"method.{name}: expected"):
        check(replace(Example(), **{name: value}), "share", "count")


def test_bounds_are_included_and_zero_is_not_positive():
    check_between(Example(), 0.5, 3, "share", "count")
    check_not_negative(Example(share=0.0), "share")
    with pytest.raises(ConfigError, match=r"lora.share: expected 0.6 to 3, got 0.5"):
        check_between(Example(), 0.6, 3, "share", section="lora")
    with pytest.raises(ConfigError, match=r"method.count: expected a positive number, got 0"):
        check_positive(Example(count=0), "count")


def test_choices_are_named():
    check_choice(Example(), ("a", "b"), "kind")
    with pytest.raises(ConfigError, match=r"method.kind: expected b or c, got 'a'"):
        check_choice(Example(), ("b", "c"), "kind")


def test_nested_numbers_are_found_with_their_key():
    check_numbers({"a": [1, {"b": -2.5}], "c": True, "d": None, "e": "nan"})
    with pytest.raises(
        ConfigError, match=r"warps.rotation\[1\]: expected a finite number of at most 4294967295, got inf"
    ):
        check_numbers({"rotation": [0, math.inf]}, "warps")


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("model.resolution=0", "model.resolution"),
        ("model.resolution=-5", "model.resolution"),
        ("model.resolution=1", "model.resolution"),
        ("model.resolution=100000000000000000000", "model.resolution"),
        ("model.num_inference_steps=0", "model.num_inference_steps"),
        ("model.max_pixels=0", "model.max_pixels"),
        ("model.dift.timestep=nan", "model.dift.timestep"),
        ("seed=1000000000000000000000000000000", "seed"),
        ("seed=-1", "seed"),
        ("limit=1000000000000000000000000000000", "limit"),
        ("+evaluator.dift.ensemble=inf", "evaluator.dift.ensemble"),
    ],
)
def test_kind_16_settings_of_a_run_are_finite_and_in_range(override, key):
    with pytest.raises(ConfigError, match=f"^{key}: expected"):
        validated(BenchmarkConfig, compose_config("model=mini", override))


def test_the_usual_settings_of_a_model_pass():
    assert ModelConfig(name="a", pretrained="b", resolution=512).max_pixels == 2**22


@pytest.mark.parametrize("method", METHODS)
def test_the_rules_that_checks_leave_are_the_ones_they_hold_to(method):
    config = method_config(method)
    with noted_rules() as rules:
        build_method(config)
    tried = 0
    for key, rule in rules.items():
        section, _, name = key.rpartition(".")
        part = config["lora"] if section == "lora" else config.get("mapping") if section == "method.mapping" else config
        wrong = ["none of these"] if rule.choices is not None else []
        if rule.low is not None:
            wrong += [rule.low if rule.above else rule.low - 1]
        if rule.high is not None:
            wrong += [rule.high + 1]
        for value in wrong:
            kept, part[name] = part[name], value
            with pytest.raises(ConfigError, match=name):
                build_method(config)
            part[name] = kept
            tried += 1
    assert tried >= 1 or not rules
    # Nothing is noted where nobody asks.
    build_method(config)
    with noted_rules() as later:
        pass
    assert not later
