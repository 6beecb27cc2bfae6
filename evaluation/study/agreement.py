"""Whether metrics agree with people: rank correlations of metrics with votes, per sample and per label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from evaluation.metrics import METRICS
from evaluation.metrics.base import Metric
from evaluation.report.statistics import CONFIDENCE, Estimate, estimate
from evaluation.study.analysis import Ballots

RESAMPLES = 1000
FIRST = ("mean_distance", "lpips", "st_lpips", "rotation_error")
"""Metrics that the question is asked of first."""


@dataclass(frozen=True)
class Agreement:
    """How a metric goes with votes; 1 where the better value always has more votes, −1 where it always has fewer.

    Args:
        metric: the metric.
        per_sample: mean over samples of Spearman's ρ between the labels' values and votes.
        per_label: Spearman's ρ between the labels' mean values and shares of votes; NaN with fewer than three labels.
        low: lower end of its interval over samples.
        high: upper end of its interval over samples.
    """

    metric: Metric
    per_sample: Estimate
    per_label: float
    low: float
    high: float


def agreements(votes: Ballots, edits: pd.DataFrame, *, seed: int = 0) -> list[Agreement]:
    """The agreement of every metric that has a better direction and was measured, the best known ones first.

    Args:
        votes: what people said.
        edits: one row per edit, with `label`, `sample` and the metrics; see `evaluation.report.collect.edits_frame`.
        seed: seed of the resampling.
    """
    samples = sorted(set(votes.samples))
    places = {name: index for index, name in enumerate(samples)}
    counts, shown = np.zeros((len(samples), len(votes.labels))), np.zeros((len(samples), len(votes.labels)))
    rows = [places[name] for name in votes.samples]
    np.add.at(counts, rows, votes.first)
    np.add.at(shown, rows, votes.shown)
    with np.errstate(invalid="ignore"):
        shares = counts / shown
    found = []
    for metric in sorted(METRICS, key=lambda item: (item.name not in FIRST, METRICS.index(item))):
        if metric.better is None or metric.name not in edits:
            continue
        values = edits.pivot_table(index="sample", columns="label", values=metric.name, aggfunc="mean", dropna=False)
        values = values.reindex(index=samples, columns=votes.labels).clip(upper=metric.ceiling).to_numpy(float)
        if np.isnan(values).all():
            continue
        found.append(_agreement(metric, -values if metric.better == "lower" else values, shares, seed))
    return found


def spearman(first: Sequence[float] | np.ndarray, second: Sequence[float] | np.ndarray) -> float:
    """Spearman's ρ with mid-ranks for ties; NaN with fewer than two pairs, or when one side does not vary.

    >>> spearman([1, 2, 3], [5, 6, 9])
    1.0
    """
    known = ~(np.isnan(first) | np.isnan(second))
    a, b = rankdata(np.asarray(first)[known]), rankdata(np.asarray(second)[known])
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.clip(np.round(np.corrcoef(a, b)[0, 1], 12), -1, 1))


def _agreement(metric: Metric, values: np.ndarray, shares: np.ndarray, seed: int) -> Agreement:
    per_sample = np.array([spearman(value, part) for value, part in zip(values, shares, strict=True)])
    known = np.isfinite(values).all(axis=1) & ~np.isnan(shares).any(axis=1)
    per_label, low, high = float("nan"), float("nan"), float("nan")
    if known.sum() and shares.shape[1] > 2:
        values, shares = values[known], shares[known]
        per_label = spearman(values.mean(axis=0), shares.mean(axis=0))
        if len(values) > 1:
            drawn = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
            again = [spearman(values[rows].mean(axis=0), shares[rows].mean(axis=0)) for rows in drawn]
            if not np.isnan(again).all():
                low, high = np.nanquantile(again, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Agreement(metric, estimate(per_sample, seed=seed), per_label, float(low), float(high))
