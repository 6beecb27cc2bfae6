from __future__ import annotations

import subprocess
import sys

from omegaconf import OmegaConf

from rotationbench.config import project_root
from rotationbench.help import help_text

CONF = project_root() / "conf"


def test_help_needs_none_of_the_large_libraries():
    code = (
        "import sys; sys.argv[1:] = ['--help']\n"
        "from rotationbench.command_line import main\n"
        "status = main()\n"
        "print([name for name in ('torch', 'numpy', 'hydra', 'pandas') if name in sys.modules], status)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=project_root(), capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n[] 0\n")
    assert done.stdout.startswith("usage: rotationbench ")


def test_help_lists_every_choice_and_every_setting():
    text = help_text([CONF])
    for group in (folder for folder in CONF.iterdir() if folder.is_dir()):
        line = next(line for line in text.splitlines() if line.startswith(f"  {group.name}="))
        assert set(line.strip().removeprefix(f"{group.name}=").split(" | ")) == {f.stem for f in group.glob("*.yaml")}
    keys = OmegaConf.load(CONF / "config.yaml").keys() - {"defaults", "hydra"}
    assert keys <= {line.strip().partition(":")[0] for line in text.splitlines()}
