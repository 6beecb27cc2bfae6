"""Every metric there is. A module of this package that defines a `MetricFamily` with `metrics` is found; that is all.

`METRICS` has the families' metrics in the order of the tables, `SETS` the names that stand for several metrics.
`FAMILIES` has the classes that measure them, also those of plug-ins.
"""

from __future__ import annotations

import inspect
import logging
import pkgutil
from collections.abc import Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any

from evaluation.metrics.base import TABLES, Metric, MetricFamily
from rotationbench.errors import ConfigError
from rotationbench.plugins import named_classes, origin_of

log = logging.getLogger(__name__)

FAMILIES: tuple[type[MetricFamily], ...]
METRICS: tuple[Metric, ...]
SETS: dict[str, tuple[str, ...]]


@lru_cache(maxsize=1)
def families() -> tuple[type[MetricFamily], ...]:
    """The classes that measure metrics: those of this package's modules, then those of plug-ins."""
    own = [
        member
        for module in pkgutil.iter_modules(__path__, f"{__name__}.")
        for member in vars(import_module(module.name)).values()
        if inspect.isclass(member) and issubclass(member, MetricFamily) and "metrics" in vars(member)
    ]
    taken = {metric.name for family in own for metric in family.metrics}
    for family in named_classes("metric", MetricFamily):  # type: ignore[type-abstract]
        if clash := taken & {metric.name for metric in family.metrics}:
            log.warning("metric %s of %s: the name is taken.", ", ".join(clash), origin_of(family.__module__))
        else:
            taken |= {metric.name for metric in family.metrics}
            own.append(family)
    return tuple(own)


@lru_cache(maxsize=1)
def _metrics() -> tuple[Metric, ...]:
    found = (metric for family in families() for metric in family.metrics)
    return tuple(sorted(found, key=lambda metric: (TABLES.index(metric.table), metric.position, metric.name)))


@lru_cache(maxsize=1)
def _sets() -> dict[str, tuple[str, ...]]:
    return {
        "none": (),
        "fast": tuple(metric.name for metric in _metrics() if metric.fast),
        "full": tuple(metric.name for metric in _metrics() if metric.table != "published"),
        "published": tuple(metric.name for metric in _metrics() if metric.published),
    }


def __getattr__(name: str) -> Any:
    # Found when they are asked for: what imports this package may be a plug-in's module that has a family itself.
    found = {"FAMILIES": families, "METRICS": _metrics, "SETS": _sets}
    if name not in found:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return found[name]()


def catalogue() -> list[tuple[str, str, str]]:
    """Each metric's name, where it comes from, and what tables call it."""
    origins = {metric.name: origin_of(family.__module__) for family in families() for metric in family.metrics}
    return [(metric.name, origins[metric.name], metric.title) for metric in _metrics()]


def select_metrics(choice: str | Sequence[str]) -> tuple[str, ...]:
    """Names of the metrics behind a setting: one name or a list of names, of metrics or of sets of them.

    Returns:
        Names in the order of `METRICS`, each once.

    Raises:
        ConfigError: when a name is unknown; it lists the known ones.

    >>> select_metrics("none")
    ()
    >>> select_metrics(["psnr", "mean_distance", "psnr"])
    ('mean_distance', 'psnr')
    """
    choice = [choice] if isinstance(choice, str) else list(choice)
    names, sets = [metric.name for metric in _metrics()], _sets()
    unknown = [name for name in choice if name not in names and name not in sets]
    if unknown:
        raise ConfigError(
            f"metrics: expected {', '.join(sets)} or names among {', '.join(names)}; "
            f"got {', '.join(map(repr, unknown))}."
        )
    chosen = {name for item in choice for name in sets.get(item, (item,))}
    return tuple(name for name in names if name in chosen)
