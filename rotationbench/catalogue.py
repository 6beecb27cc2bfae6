"""`rotationbench list`: everything there is to choose from, a line each, and where it comes from."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import cast

from omegaconf import OmegaConf

from rotationbench.errors import ConfigError
from rotationbench.paths import project_root
from rotationbench.plugins import CLASSES, conf_folders

Entry = tuple[str, str, str]
"""A name, where it comes from, and what it is."""

HEADINGS = {"method": "methods", "model": "models", "task": "tasks"}
"""What groups of settings are called where they are listed."""
FUNCTIONS = "catalogue.yaml"
"""The file in `conf/` that names functions for what no file of settings lists."""


def show(wanted: Sequence[str], out: Callable[[str], object]) -> None:
    """Print the sections that are wanted, or all.

    Args:
        wanted: names of sections.
        out: takes each line.

    Raises:
        ConfigError: when there is no such section.
    """
    functions = cast(dict[str, str], OmegaConf.to_container(OmegaConf.load(project_root() / "conf" / FUNCTIONS)))
    folders = {path.name for conf in conf_folders() for path in conf.iterdir() if path.is_dir()} - {*CLASSES}
    groups = {HEADINGS.get(folder, folder): folder for folder in sorted(folders)}
    sections = [*groups, *functions]
    if unknown := [name for name in wanted if name not in sections]:
        raise ConfigError(f"list: expected names among {', '.join(sections)}, got {', '.join(unknown)}.")
    for section in wanted or sections:
        # Those of functions come last: what they import takes seconds.
        entries = chosen(groups[section]) if section in groups else _function(functions[section])()
        out("\n".join([f"{section}:", *_lines(entries)]) + "\n")


def chosen(group: str) -> Iterator[Entry]:
    """What can be chosen as `<group>=<name>`."""
    seen = set()
    for conf, origin in conf_folders().items():
        for file in sorted((conf / group).glob("*.yaml")):
            if file.stem not in seen:
                seen.add(file.stem)
                yield file.stem, origin, description(file)


def description(file: Path) -> str:
    """The first sentence of the comment at the head of a file of settings; empty when there is none.

    A directive to Hydra, such as `# @package _global_`, is no comment.
    """
    lines = file.read_text(encoding="utf-8").splitlines()
    head = re.match(r"(?:#[^\n]*\n?)*", "\n".join(line for line in lines if not line.startswith("# @")))
    text = " ".join(line.lstrip("# ") for line in head[0].splitlines()) if head else ""
    return re.split(r"(?<=[.])\s", text, maxsplit=1)[0]


def _function(path: str) -> Callable[[], Iterable[Entry]]:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _lines(entries: Iterable[Entry]) -> list[str]:
    entries = list(entries)
    widths = [max((len(entry[column]) for entry in entries), default=0) for column in (0, 1)]
    return [f"  {name:{widths[0]}}  {origin:{widths[1]}}  {what}".rstrip() for name, origin, what in entries]
