"""Forms from methods."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest
from studio_helpers import methods_on_offer

from rotationbench.config import build_method, project_root
from studio.forms import chosen_method, documented_arguments

METHODS = sorted(file.stem for file in (project_root() / "conf" / "method").glob("*.yaml"))


def leaves(form: list[dict[str, Any]], prefix: str = "") -> dict[str, dict[str, Any]]:
    found = {}
    for field in form:
        key = f"{prefix}{field['key']}"
        found |= leaves(field["fields"], f"{key}.") if field["kind"] == "group" else {key: field}
    return found


@pytest.mark.parametrize("name", METHODS)
def test_a_form_has_every_setting_with_its_default_and_explanation(name):
    offered = methods_on_offer()[name]
    method = build_method(offered.config)
    form = offered.form["fields"]
    assert [field["key"] for field in form] == [item.name for item in fields(method)]
    for key, field in leaves(form).items():
        assert field["doc"], f"{name}.{key} is explained nowhere"
        if "." not in key:
            assert field["default"] == getattr(method, key) or field["kind"] == "other"
        if field["kind"] == "choice":
            assert field["default"] in field["choices"]
    assert json.dumps(offered.form)
    assert offered.form["about"][0]


def test_a_form_knows_types_ranges_and_what_may_be_left_out():
    form = leaves(methods_on_offer()["rotationdrag"].form["fields"])
    assert form["max_steps"]["kind"] == "whole" and form["max_steps"]["above"] and form["max_steps"]["low"] == 0
    assert form["inversion_strength"] | {"doc": ""} == {
        "key": "inversion_strength",
        "kind": "number",
        "nullable": False,
        "default": 0.75,
        "doc": "",
        "low": 0,
        "high": 1,
        "above": True,
    }
    assert form["rotation"]["choices"] == ["paper", "released"]
    assert form["background_without_mask"]["kind"] == "switch"
    assert form["rotation_bank"]["nullable"] and form["rotation_bank"]["default"] is None
    assert (form["lora.rank"]["low"], form["lora.rank"]["high"]) == (1, 1280)
    group = next(field for field in methods_on_offer()["fastdrag"].form["fields"] if field["key"] == "lora")
    assert group["nullable"] and group["default"] is False and len(group["fields"]) == 6


def test_changes_reach_the_method_and_nothing_else():
    offered = methods_on_offer()["rotationdrag"]
    method, config = chosen_method(offered, {"max_steps": 7, "lora": {"steps": 3}, "rotation_bank": 2.5})
    assert (method.max_steps, method.lora.steps, method.rotation_bank) == (7, 3, 2.5)
    assert method.lora.rank == build_method(offered.config).lora.rank
    assert config["_target_"] == offered.config["_target_"]
    without, _ = chosen_method(offered, {"lora": None})
    assert without.lora is None
    switched_on, _ = chosen_method(methods_on_offer()["fastdrag"], {"lora": {}})
    assert switched_on.lora is not None and switched_on.lora.rank == 16


def test_arguments_are_read_from_the_docstrings_of_all_bases():
    class Base:
        """A base.

        Args:
            first: what it is,
                on two lines.
            second: of the base.
        """

    class Derived(Base):
        """Derived.

        Args:
            second: of the derived; with a colon: here.

        Raises:
            ValueError: never.
        """

    assert documented_arguments(Derived) == {
        "first": "what it is, on two lines.",
        "second": "of the derived; with a colon: here.",
    }
