"""Promises of the project as a whole: directions of dependency, and documentation that works as printed."""

from __future__ import annotations

import ast
import importlib
import re
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest
from tests_helpers import compose_config

from rotationbench.config import build_method, project_root

FORBIDDEN = {
    "rotationbench": {"methods", "evaluation", "tools", "benchmarks"},
    "methods": {"evaluation", "tools", "benchmarks"},
    "evaluation": {"methods", "tools", "benchmarks"},
}


def imported_packages(file: Path) -> set[str]:
    packages = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            packages |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            packages.add(node.module.split(".")[0])
    return packages


@pytest.mark.parametrize("package", FORBIDDEN)
def test_packages_know_only_what_they_may(package):
    files = list((project_root() / package).rglob("*.py"))
    assert files
    wrong = {str(file): imported_packages(file) & FORBIDDEN[package] for file in files}
    assert not {file: packages for file, packages in wrong.items() if packages}


def code_blocks(page: str, language: str) -> list[str]:
    text = (project_root() / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def test_the_worked_example_of_a_method_runs(tmp_path, monkeypatch):
    import yaml

    from rotationbench.benchmark import run

    (code,) = code_blocks("CONTRIBUTING.md", "python")
    (settings,) = code_blocks("CONTRIBUTING.md", "yaml")
    package = tmp_path / "example_methods"
    package.mkdir()
    (package / "pixelturn.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    values = yaml.safe_load(settings.replace("methods.pixelturn", "example_methods.pixelturn"))
    assert build_method(values).version == 1

    shutil.copytree(project_root() / "tests" / "golden" / "cases" / "cat", tmp_path / "data" / "cat")
    config = compose_config(
        "model=local",
        f"model.pretrained={project_root() / 'tests' / 'golden' / 'tinyA'}",
        "data=folder",
        f"data.root={tmp_path / 'data'}",
        f"results_dir={tmp_path / 'results'}",
        "metrics=none",
        "device=cpu",
    )
    config.method = values
    assert run(config) == 0
    table = pd.read_csv(tmp_path / "results" / "edits.csv")
    assert list(table["label"]) == ["pixelturn"]
    assert table["unet_calls"][0] == 0
    importlib.invalidate_caches()
    sys.modules.pop("example_methods.pixelturn", None)


def test_the_text_has_no_paths_of_one_machine():
    pages = [*project_root().glob("*.md"), *(project_root() / "docs").rglob("*.md")]
    assert pages
    for page in pages:
        assert not re.search(r"(?<![\w.])/(work|home|root|tmp)/", page.read_text(encoding="utf-8")), page
