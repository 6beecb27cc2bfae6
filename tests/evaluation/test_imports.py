"""What a task imports: the libraries of diffusion models take seconds, and many tasks need no model."""

from __future__ import annotations

import subprocess
import sys

from rotationbench.config import project_root

TASKS = (
    "evaluation.report.build",
    "evaluation.table1.task, evaluation.table1.features.sift",
    "rotationbench.benchmark, evaluation.suite, methods.nothing, methods.turn",
    "evaluation.evaluate, evaluation.suite",
)
"""Modules of `task=report`, `task=table1 features=[sift]`, `task=benchmark method=nothing,turn` and
`task=evaluate`."""


def test_a_task_without_a_model_imports_no_library_of_models():
    # What one imports remains for those after it, and none of it may be such a library.
    code = "import sys\nlibraries = {'diffusers', 'transformers', 'peft', 'accelerate', 'torchvision', 'lpips'}\n"
    code += "".join(f"import {modules}\nprint(sorted(libraries.intersection(sys.modules)))\n" for modules in TASKS)
    done = subprocess.run([sys.executable, "-c", code], cwd=project_root(), capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]"] * len(TASKS)
