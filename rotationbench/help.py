"""What `--help` prints: from the files of `conf/` alone, so that it is there at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rotationbench.plugins import CLASSES

USAGE = """\
usage: rotationbench [task=TASK] [method=METHOD] [key=value ...] [-m] [--config-dir FOLDER]

  rotationbench method=rotationdrag                     edit the samples with a method, and measure the edits
  rotationbench -m method=dragdiffusion,rotationdrag    the same for each of several settings
  rotationbench task=report results_dir=results         another task
  rotationbench list [methods ...]                      what there is to choose from, and where it comes from

  -m, --multirun           run every combination of settings that are given with commas
  --cfg job                print the settings, composed, instead of running
  -cd, --config-dir FOLDER a folder laid out as conf/, with settings of your own
  --hydra-help             everything else that Hydra offers
"""


def help_text(folders: Sequence[Path]) -> str:
    """How the command is used, what can be chosen, and every setting with its default and its comment.

    Args:
        folders: those of settings, the project's own first.
    """
    groups: dict[str, dict[str, None]] = {}
    for file in sorted(file for folder in folders for file in folder.glob("*/*.yaml")):
        groups.setdefault(file.parent.name, {})[file.stem] = None
    choices = "\n".join(
        f"  {group}={' | '.join(sorted(groups[group]))}" for group in sorted(groups.keys() - {*CLASSES})
    )
    settings = (folders[0] / "config.yaml").read_text(encoding="utf-8")
    # What comes before the first blank line chooses files, what Hydra is told is no setting of ours.
    own = settings.partition("\n\n")[2].partition("\nhydra:")[0].strip()
    return f"{USAGE}\nChoices:\n{choices}\n\nSettings:\n" + "".join(
        f"  {line}".rstrip() + "\n" for line in own.splitlines()
    )
