"""What a task imports: the libraries of diffusion models take seconds, and many tasks need no model."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rotationbench.config import project_root


@pytest.mark.parametrize(
    "modules",
    ["evaluation.report.build", "evaluation.table1.task, evaluation.table1.features.sift", "evaluation.metrics"],
    ids=["task=report", "task=table1 features=[sift]", "metrics"],
)
def test_a_task_without_a_model_imports_no_library_of_models(modules):
    code = (
        f"import {modules}, sys\n"
        "print(sorted({'diffusers', 'transformers', 'peft', 'accelerate'}.intersection(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=project_root(), capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
