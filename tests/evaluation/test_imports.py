"""What a task imports: the libraries of diffusion models take seconds, and many tasks need no model."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rotationbench.config import project_root


@pytest.mark.parametrize(
    "modules",
    [
        "evaluation.report.build",
        "evaluation.table1.task, evaluation.table1.features.sift",
        "rotationbench.benchmark, evaluation.suite",
        "evaluation.evaluate, evaluation.suite",
    ],
    ids=["task=report", "task=table1 features=[sift]", "task=benchmark", "task=evaluate"],
)
def test_a_task_without_a_model_imports_no_library_of_models(modules):
    code = (
        f"import {modules}, sys\n"
        "libraries = {'diffusers', 'transformers', 'peft', 'accelerate', 'torchvision', 'lpips'}\n"
        "print(sorted(libraries.intersection(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=project_root(), capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
