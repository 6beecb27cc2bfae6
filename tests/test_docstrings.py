"""The examples in docstrings give what they say."""

from __future__ import annotations

import doctest
import importlib

import pytest

from rotationbench.config import project_root

FOLDERS = ("rotationbench", "methods", "evaluation", "tools", "benchmarks")
MODULES = [
    ".".join(path.relative_to(project_root()).with_suffix("").parts).removesuffix(".__init__")
    for folder in FOLDERS
    for path in sorted((project_root() / folder).rglob("*.py"))
    if "    >>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_hold(name):
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert found.attempted > 0
    assert found.failed == 0
