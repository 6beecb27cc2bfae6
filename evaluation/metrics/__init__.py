"""Every metric there is. A module of this package that defines a `MetricFamily` with `metrics` is found; that is all.

`METRICS` has the families' metrics in the order of the tables. `FAMILIES` has the classes that measure them.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Sequence
from importlib import import_module

from evaluation.metrics.base import TABLES, Metric, MetricFamily
from rotationbench.errors import ConfigError

FAMILIES: tuple[type[MetricFamily], ...] = tuple(
    member
    for module in pkgutil.iter_modules(__path__, f"{__name__}.")
    for member in vars(import_module(module.name)).values()
    if inspect.isclass(member) and issubclass(member, MetricFamily) and "metrics" in vars(member)
)

METRICS: tuple[Metric, ...] = tuple(
    sorted(
        (metric for family in FAMILIES for metric in family.metrics),
        key=lambda metric: (TABLES.index(metric.table), metric.position, metric.name),
    )
)
SETS = {
    "none": (),
    "fast": tuple(metric.name for metric in METRICS if metric.fast),
    "full": tuple(metric.name for metric in METRICS if metric.table != "published"),
    "published": tuple(metric.name for metric in METRICS if metric.published),
}
"""Names that stand for several metrics."""


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
    names = [metric.name for metric in METRICS]
    unknown = [name for name in choice if name not in names and name not in SETS]
    if unknown:
        raise ConfigError(
            f"metrics: expected {', '.join(SETS)} or names among {', '.join(names)}; "
            f"got {', '.join(map(repr, unknown))}."
        )
    chosen = {name for item in choice for name in SETS.get(item, (item,))}
    return tuple(name for name in names if name in chosen)
