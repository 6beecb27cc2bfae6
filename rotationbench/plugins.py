"""Plug-ins: other people's packages that bring methods, models, data, formats, metrics and features of their own.

A package says that it is one by an entry point of the group `rotationbench.plugins` whose value is a package with a
folder `conf/`, laid out as the project's own. What lies there is found as if it lay here. Two of its groups name
classes by `_target_`: `conf/format/` formats of data sets, `conf/metric/` families of metrics.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from rotationbench.errors import one_line
from rotationbench.paths import project_root

GROUP = "rotationbench.plugins"
OWN = "rotationbench"
CLASSES = ("format", "metric")
"""Groups whose files name classes; nothing is chosen from them on the command line."""

Base = TypeVar("Base")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plugin:
    """An installed package that brings things of its own.

    Args:
        name: that of its entry point.
        package: the package that the entry point names.
        conf: its folder of settings.
        origin: the distribution with its version.
    """

    name: str
    package: str
    conf: Path
    origin: str


@lru_cache(maxsize=1)
def plugins() -> tuple[Plugin, ...]:
    """The plug-ins that can be used, by name; what is wrong with another is a warning. None of them is imported."""
    found = []
    for entry in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value)):
        origin = entry.value if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"
        folder = _folder_of(entry.module)
        if folder is None or not (folder / "conf").is_dir():
            got = "none that is installed" if folder is None else f"{folder} without one"
            log.warning("plug-in %s (%s): expected a package with a folder conf, got %s.", entry.name, origin, got)
        else:
            found.append(Plugin(entry.name, entry.module, folder / "conf", origin))
    for group, name, loser, winner in _hidden(found):
        log.warning("plug-in %s: its %s %s is hidden by that of %s.", loser, group, name, winner)
    return tuple(found)


def conf_folders() -> dict[Path, str]:
    """The folders of settings, the project's own first, and where each comes from."""
    return {project_root() / "conf": OWN} | {plugin.conf: plugin.origin for plugin in plugins()}


def origin_of(module: str) -> str:
    """Where a module comes from: a plug-in's distribution, or the project."""
    return next((plugin.origin for plugin in plugins() if f"{module}.".startswith(f"{plugin.package}.")), OWN)


def named_classes(group: str, base: type[Base]) -> list[type[Base]]:
    """The classes that plug-ins name in `conf/<group>/*.yaml`; one that cannot be used is a warning.

    Args:
        group: one of `CLASSES`.
        base: what they must be subclasses of.
    """
    from hydra.utils import get_class  # noqa: PLC0415 - `--help` needs the folders alone
    from omegaconf import OmegaConf  # noqa: PLC0415

    found = []
    for plugin in plugins():
        for file in sorted((plugin.conf / group).glob("*.yaml")):
            try:
                named = get_class(str(OmegaConf.load(file)._target_))
                if not issubclass(named, base):
                    raise TypeError(f"expected a subclass of {base.__name__}, got {named.__name__}")
                if missing := sorted(getattr(named, "__abstractmethods__", ())):
                    raise TypeError(f"expected all methods of a {base.__name__}, got none for {', '.join(missing)}")
            except Exception as error:
                # Whatever is wrong with other people's code, everything else goes on.
                log.warning(
                    "plug-in %s: %s: %s %s cannot be used: %s.", plugin.name, file, group, file.stem, one_line(error)
                )
            else:
                found.append(named)
    return found


def without_taken(named: Mapping[str, Base], own: Mapping[str, object], group: str) -> dict[str, Base]:
    """What plug-ins bring by name, without names that the project has itself, which are warnings."""
    for name in named.keys() & own.keys():
        log.warning("%s %s of %s is hidden by that of %s.", group, name, origin_of(type(named[name]).__module__), OWN)
    return {name: value for name, value in named.items() if name not in own}


def add_to_hydra() -> None:
    """Let Hydra find the settings of plug-ins behind the project's own."""
    from hydra.core.config_search_path import ConfigSearchPath  # noqa: PLC0415
    from hydra.core.plugins import Plugins  # noqa: PLC0415
    from hydra.plugins.search_path_plugin import SearchPathPlugin  # noqa: PLC0415

    class PluginFolders(SearchPathPlugin):
        def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
            for plugin in plugins():
                search_path.append(provider=plugin.name, path=f"file://{plugin.conf}")

    Plugins.instance().register(PluginFolders)


def _folder_of(package: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(package)
    except ImportError:
        return None
    places = [] if spec is None else list(spec.submodule_search_locations or [])
    return Path(places[0]) if places else None


def _hidden(found: list[Plugin]) -> Iterator[tuple[str, str, str, str]]:
    """Settings that an earlier folder has too: their group and name, whose they are, and who hides them."""
    first: dict[tuple[str, str], str] = {}
    for owner, conf in [(OWN, project_root() / "conf"), *((plugin.name, plugin.conf) for plugin in found)]:
        for file in sorted(conf.glob("*/*.yaml")):
            key = (file.parent.name, file.stem)
            if key in first:
                yield *key, owner, first[key]
            else:
                first[key] = owner
