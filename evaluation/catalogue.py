"""The catalogue of everything that is measured per edit: names, directions and units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rotationbench.errors import ConfigError

DAI_RADII = (1, 5, 10, 20)
PSNR_CEILING = 100.0
"""Decibels that a PSNR above them, an infinite one included, counts for in means and differences."""


@dataclass(frozen=True)
class Metric:
    """One column of the tables.

    Args:
        name: the column's name in files.
        label: the column's name in tables and plots.
        better: `"lower"`, `"higher"`, or None when there is no better.
        unit: such as `"px"`; empty for pure numbers.
        family: the table that it belongs to: accuracy, fidelity, target or cost.
        digits: decimals in tables.
        fast: part of `metrics=fast`.
        main: part of the tables that have room for few columns.
        ceiling: values above it count as this much in means and differences; None means no ceiling.
    """

    name: str
    label: str
    better: str | None
    unit: str
    family: str
    digits: int = 2
    fast: bool = False
    main: bool = False
    ceiling: float | None = None

    @property
    def arrow(self) -> str:
        """↓ or ↑ for the better direction, nothing when there is none."""
        return {"lower": "↓", "higher": "↑", None: ""}[self.better]

    @property
    def title(self) -> str:
        """Label, unit and arrow, as a table's header has them."""
        unit = f" [{self.unit}]" if self.unit else ""
        return f"{self.label}{unit} {self.arrow}".strip()


def _dai(radius: int) -> Metric:
    return Metric(f"dai_{radius}", f"DAI γ={radius}", "lower", "", "accuracy", digits=3)


def _to_target(region: str, label: str) -> tuple[Metric, ...]:
    return (
        Metric(
            f"{region}psnr_target",
            f"{label}PSNR to target",
            "higher",
            "dB",
            "target",
            fast=not region,
            main=not region,
            ceiling=PSNR_CEILING,
        ),
        Metric(f"{region}ssim_target", f"{label}SSIM to target", "higher", "", "target", digits=3),
        Metric(f"{region}lpips_target", f"{label}LPIPS to target", "lower", "", "target", digits=3),
        Metric(f"{region}st_lpips_target", f"{label}ST-LPIPS to target", "lower", "", "target", digits=3),
    )


METRICS = (
    Metric("mean_distance", "MD", "lower", "px", "accuracy", fast=True, main=True),
    Metric("mean_distance_pivot", "MD of pivots", "lower", "px", "accuracy", fast=True),
    Metric("mm_distance", "m-MD", "lower", "px", "accuracy"),
    *(_dai(radius) for radius in DAI_RADII),
    Metric("rotation_error", "rotation error", "lower", "°", "accuracy", digits=1, fast=True, main=True),
    Metric("rotation_turn", "turn", None, "°", "accuracy", digits=1, fast=True),
    Metric("rotation_confidence", "confidence of turn", None, "", "accuracy", fast=True),
    Metric("image_fidelity", "IF", "higher", "", "fidelity", digits=3, fast=True),
    Metric("lpips", "LPIPS", "lower", "", "fidelity", digits=3, fast=True, main=True),
    Metric("st_lpips", "ST-LPIPS", "lower", "", "fidelity", digits=3, fast=True, main=True),
    Metric("clip_similarity", "CLIP", "higher", "", "fidelity", digits=3),
    Metric("psnr", "PSNR", "higher", "dB", "fidelity", ceiling=PSNR_CEILING),
    Metric("ssim", "SSIM", "higher", "", "fidelity", digits=3),
    Metric(
        "background_psnr", "PSNR outside mask", "higher", "dB", "fidelity", fast=True, main=True, ceiling=PSNR_CEILING
    ),
    Metric("untouched_psnr", "PSNR off the turn", "higher", "dB", "fidelity", ceiling=PSNR_CEILING),
    *_to_target("", ""),
    *_to_target("inside_", "inside "),
    *_to_target("outside_", "outside "),
)
"""What `MetricSuite` can measure, in the order of the tables."""

COSTS = (
    Metric("seconds", "time", "lower", "s", "cost", digits=1, main=True),
    Metric("unet_calls", "UNet calls", "lower", "", "cost", digits=0),
    Metric("unet_images", "UNet images", "lower", "", "cost", digits=0, main=True),
    Metric("unet_grad_calls", "with gradient", "lower", "", "cost", digits=0),
    Metric("peak_memory_mb", "peak memory", "lower", "MiB", "cost", digits=0),
    Metric("steps", "drag steps", "lower", "", "cost", digits=0),
    Metric("converged", "converged", "higher", "", "cost"),
    Metric("final_distance", "handle distance left", "lower", "px", "cost"),
)
"""What the benchmark records of every edit, in the order of the tables."""

BY_NAME = {metric.name: metric for metric in (*METRICS, *COSTS)}
FAST = tuple(metric.name for metric in METRICS if metric.fast)
FULL = tuple(metric.name for metric in METRICS)


def select_metrics(choice: str | Sequence[str]) -> tuple[str, ...]:
    """Names of the metrics behind a setting: `"none"`, `"fast"`, `"full"`, one name or a list of names.

    Returns:
        Names in the order of `METRICS`, each once.

    Raises:
        ConfigError: when a name is unknown; it lists the known ones.
    """
    sets = {"none": (), "fast": FAST, "full": FULL}
    if isinstance(choice, str):
        if choice in sets:
            return sets[choice]
        choice = [choice]
    unknown = [name for name in choice if name not in FULL]
    if unknown:
        raise ConfigError(
            f"metrics: expected none, fast, full or names among {', '.join(FULL)}; got {', '.join(map(repr, unknown))}."
        )
    return tuple(name for name in FULL if name in choice)
