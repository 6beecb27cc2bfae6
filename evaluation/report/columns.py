"""The columns of a report: the metrics, and the costs that the benchmark records of every edit."""

from __future__ import annotations

from evaluation.metrics import METRICS
from evaluation.metrics.base import Metric

COSTS = (
    Metric("seconds", "time", "lower", "s", "cost", digits=1, main=True),
    Metric("unet_calls", "UNet calls", "lower", "", "cost", digits=0),
    Metric("unet_images", "UNet images", "lower", "", "cost", digits=0, main=True),
    Metric("unet_grad_calls", "with gradient", "lower", "", "cost", digits=0),
    Metric("peak_memory_mb", "peak memory", "lower", "MiB", "cost", digits=0),
    Metric("steps", "drag steps", "lower", "", "cost", digits=0),
    Metric("converged", "converged (self-reported)", "higher", "", "cost"),
    Metric("final_distance", "handle distance left", "lower", "px", "cost"),
)
"""In the order of the tables."""

COLUMNS = (*METRICS, *COSTS)
BY_NAME = {metric.name: metric for metric in COLUMNS}
