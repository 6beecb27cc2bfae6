"""Promises of the project as a whole: directions of dependency, tests in their place, documentation that works."""

from __future__ import annotations

import ast
import graphlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from rotationbench.config import project_root

PACKAGES = ("rotationbench", "methods", "evaluation", "studio")
FORBIDDEN = {
    "rotationbench": ("methods", "evaluation", "studio", "tools", "benchmarks"),
    "methods": ("evaluation", "studio", "tools", "benchmarks"),
    "evaluation": ("methods", "studio", "tools", "benchmarks"),
    "studio": ("methods", "tools", "benchmarks"),
    "evaluation.metrics": ("evaluation.suite", "evaluation.evaluate", "evaluation.report", "evaluation.table1"),
    "evaluation.suite": ("evaluation.evaluate", "evaluation.report", "evaluation.table1", "evaluation.study"),
    "evaluation.report": ("evaluation.suite", "evaluation.evaluate", "evaluation.table1", "evaluation.study"),
    "evaluation.submission": ("evaluation.evaluate", "evaluation.table1"),
    "evaluation.table1": (
        "evaluation.suite",
        "evaluation.evaluate",
        "evaluation.report",
        "evaluation.metrics",
        "evaluation.study",
    ),
    # Answers are counted and drawn with what the report counts and draws with; the report's page is beyond it.
    "evaluation.study": (
        "evaluation.suite",
        "evaluation.evaluate",
        "evaluation.demo",
        "evaluation.table1",
        "evaluation.report.build",
        "evaluation.report.gallery",
    ),
}
"""What each package or module must not know."""
LONGEST = 400
"""Lines of a file at most."""
MIRRORED = (*PACKAGES, "tools", "benchmarks")
THEMES = {
    # Two metrics, or all of them, are held to one promise, or to what the released scripts made.
    "evaluation/metrics/test_fidelity.py",
    "evaluation/metrics/test_published.py",
    # Whatever a results folder holds, the whole report has to be made of it.
    "evaluation/report/test_damage.py",
    "evaluation/report/test_mutated_results.py",
    # A study is answered as a whole: in a browser, and by many at once.
    "evaluation/study/test_browser.py",
    "evaluation/study/test_load.py",
    # Pages against settings, and what starts of tasks import.
    "evaluation/test_documented_defaults.py",
    "evaluation/test_imports.py",
    # The building blocks of all methods, on another device.
    "methods/test_placement.py",
    # All readers alike: faulty, mutated and many files, and the data set that is shipped.
    "rotationbench/datasets/test_kinds_of_fault.py",
    "rotationbench/datasets/test_mutations.py",
    "rotationbench/datasets/test_scale.py",
    "rotationbench/datasets/test_shipped.py",
    # Whole runs, of which a machine or the process is lost, or the disk is full.
    "rotationbench/engine/test_lost_nodes.py",
    "rotationbench/test_kill_campaign.py",
    # Hostile requests, whichever part of the studio refuses them.
    "studio/test_safety.py",
}
"""Test modules whose subject is wider than one module; they lie with the package that they are about."""


def module_files() -> dict[str, Path]:
    root = project_root()
    return {
        ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): file
        for package in PACKAGES
        for file in sorted((root / package).rglob("*.py"))
    }


def imported_modules(file: Path) -> set[str]:
    """What a file imports when it runs: dotted names of modules, and of what is taken from them."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0 and node not in for_types:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def is_in(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("package", FORBIDDEN)
def test_packages_know_only_what_they_may(package):
    files = {module: file for module, file in module_files().items() if is_in(module, (package,))}
    assert files
    wrong = {
        module: names
        for module, file in files.items()
        if (names := {name for name in imported_modules(file) if is_in(name, FORBIDDEN[package])})
    }
    assert not wrong


def test_no_imports_run_in_a_circle():
    files = module_files()
    # Of `from package import module` only the module counts: a package holds its modules together, and may be first.
    graph = {}
    for module, file in files.items():
        names = imported_modules(file) & files.keys() - {module}
        graph[module] = {name for name in names if not any(other.startswith(f"{name}.") for other in names)}
    assert list(graphlib.TopologicalSorter(graph).static_order())


def test_no_module_is_long():
    long = {module for module, file in module_files().items() if len(file.read_text("utf-8").splitlines()) > LONGEST}
    assert not long


def test_tests_mirror_the_packages():
    root = project_root()
    modules = {file.relative_to(root / "tests") for file in (root / "tests").glob("*/**/test_*.py")}
    assert modules
    astray = {module.parent.as_posix() for module in modules if module.parts[0] not in MIRRORED}
    astray |= {module.parent.as_posix() for module in modules if not (root / module.parent).is_dir()}
    assert not astray
    of_nothing = {
        module.as_posix()
        for module in modules
        if not (subject := root / module.parent / module.stem.removeprefix("test_")).with_suffix(".py").is_file()
        and not subject.is_dir()
    }
    assert of_nothing == THEMES


def shown_files(page: str) -> dict[str, str]:
    """Path and content of the files that a page shows whole."""
    text = (project_root() / page).read_text(encoding="utf-8")
    return dict(re.findall(r"`([\w/]+\.(?:py|yaml))`:\n\n```\w+\n(.*?)```", text, flags=re.DOTALL))


def test_the_worked_examples_run_by_being_put_in_their_place(tmp_path):
    root, project = project_root(), tmp_path / "project"
    for name in (*PACKAGES, "conf"):
        shutil.copytree(root / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(root / "run.py", project)
    shown = shown_files("CONTRIBUTING.md")
    assert {Path(path).stem for path in shown} == {"pixelshift", "colour_shift", "orb"}
    for path, content in shown.items():
        assert not (project / path).exists()
        (project / path).write_text(content, encoding="utf-8")
    shutil.copytree(root / "tests" / "golden" / "cases" / "cat", tmp_path / "data" / "cat")
    with Image.open(root / "data" / "photos" / "chelsea.png") as photo:
        (tmp_path / "photos").mkdir()
        photo.resize((330, 240)).save(tmp_path / "photos" / "chelsea.png")

    def run(*settings: str) -> None:
        command = [sys.executable, "run.py", f"results_dir={tmp_path / 'results'}", "device=cpu", *settings]
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    run("method=pixelshift", "data=folder", f"data.root={tmp_path / 'data'}", "metrics=[colour_shift,psnr]")
    run("task=table1", "features=[orb]", f"data.root={tmp_path / 'photos'}", "warps_per_image=1", "workers=1")
    edits = pd.read_csv(tmp_path / "results" / "edits.csv")
    assert list(edits["label"]) == ["pixelshift"]
    assert edits["colour_shift"][0] >= 0
    table = pd.read_csv(tmp_path / "results" / "table1" / "table1.csv")
    assert list(table["feature"]) == ["orb"]
    assert table["translation"][0] == 100


def test_the_text_has_no_paths_of_one_machine():
    pages = [*project_root().glob("*.md"), *(project_root() / "docs").rglob("*.md")]
    assert pages
    for page in pages:
        assert not re.search(r"(?<![\w.])/(work|home|root|tmp)/", page.read_text(encoding="utf-8")), page
