"""Means with intervals, paired comparisons and win rates, with samples as what varies.

A method is measured on a set of samples, and what is asked is how it would do on others: samples are resampled, never
edits. Several seeds of one sample are repeated measures; their mean is the sample's value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri
from scipy.stats import wilcoxon

from evaluation.metrics.base import Metric

CONFIDENCE = 0.95
RESAMPLES = 2000
BLOCK = 2**20
"""How many choices are drawn at a time: a few tens of MiB with what is computed from them."""


@dataclass(frozen=True)
class Estimate:
    """A mean over samples.

    Args:
        mean: over the samples; NaN when there are none.
        low: lower end of the bootstrap interval; NaN with fewer than two samples.
        high: upper end of the bootstrap interval; NaN with fewer than two samples.
        samples: how many samples have a value.
    """

    mean: float
    low: float
    high: float
    samples: int


@dataclass(frozen=True)
class Comparison:
    """Two methods on the samples on which both have a value.

    Args:
        metric: name of the metric.
        first: one method.
        second: the other.
        difference: mean of first − second, with its interval.
        wins: samples on which `first` is better; a failed edit loses against one that was made.
        losses: samples on which `second` is better.
        ties: samples on which both are as good, or both failed.
        p: two-sided Wilcoxon signed-rank test of the differences; NaN with fewer than two of them.
        p_holm: `p` corrected for all pairs of methods that are compared in this metric (Holm).
    """

    metric: str
    first: str
    second: str
    difference: Estimate
    wins: int
    losses: int
    ties: int
    p: float
    p_holm: float


def means_by_sample(table: pd.DataFrame, metrics: Sequence[Metric]) -> pd.DataFrame:
    """Means over the edits of each sample: samples as rows, metrics as columns; NaN where no edit has a value.

    Values beyond a metric's ceiling count as the ceiling.
    """
    columns = {metric.name: table[metric.name].clip(upper=metric.ceiling) for metric in metrics}
    return pd.DataFrame(columns).groupby(table["sample"]).mean()


def values_by_sample(table: pd.DataFrame, metric: Metric) -> pd.Series:
    """`means_by_sample` of one metric."""
    return means_by_sample(table, [metric])[metric.name]


def estimate(values: np.ndarray, *, seed: int = 0) -> Estimate:
    """Mean with its bias-corrected and accelerated bootstrap interval (Efron, 1987).

    Where the corrections are undefined, as among very few values, it is the percentile interval.

    Args:
        values: one per sample; NaN are left out.
        seed: seed of the resampling.
    """
    values = np.asarray(values, dtype=np.float64)
    values = values[~np.isnan(values)]
    if len(values) < 2:
        return Estimate(float(values.mean()) if len(values) else np.nan, np.nan, np.nan, len(values))
    mean = float(values.mean())
    if np.ptp(values) == 0:
        return Estimate(mean, mean, mean, len(values))
    return Estimate(mean, *_interval(values, seed), len(values))


def compare(table: pd.DataFrame, metric: Metric, variants: Sequence[str]) -> list[Comparison]:
    """All pairs of methods in one metric, on common samples.

    Args:
        table: one row per edit, with `variant`, `sample`, `status` and the metric's column.
        metric: what to compare in; one without a better direction has no comparisons.
        variants: the methods.

    Returns:
        One comparison for each pair that has common samples.
    """
    if metric.better is None or metric.name not in table:
        return []
    values = {name: values_by_sample(table[table["variant"] == name], metric) for name in variants}
    failed = {name: failed_samples(table[table["variant"] == name]) for name in variants}
    found = []
    for index, first in enumerate(variants):
        for second in variants[index + 1 :]:
            common = values[first].index.intersection(values[second].index)
            if len(common) == 0:
                continue
            differences = (values[first][common] - values[second][common]).dropna()
            wins, losses, ties = _outcomes(differences, failed[first], failed[second], common, metric)
            found.append(
                Comparison(
                    metric=metric.name,
                    first=first,
                    second=second,
                    difference=estimate(differences.to_numpy()),
                    wins=wins,
                    losses=losses,
                    ties=ties,
                    p=_signed_rank(differences.to_numpy()),
                    p_holm=np.nan,
                )
            )
    return with_holm(found)


def with_holm(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons with `p_holm` filled in, taken as one family (Holm 1979)."""
    # Not by statsmodels: it collects garbage at each call, which takes a second where torch is loaded.
    p = np.array([item.p for item in comparisons], float)
    order = np.argsort(p)[: np.isfinite(p).sum()]
    corrected = np.full(len(p), np.nan)
    corrected[order] = np.maximum.accumulate(np.arange(len(order), 0, -1) * p[order]).clip(max=1)
    return [replace(item, p_holm=float(value)) for item, value in zip(comparisons, corrected, strict=True)]


def win_rates(comparisons: Sequence[Comparison], variants: Sequence[str]) -> pd.DataFrame:
    """Share of the common samples on which the row's method beats the column's, ties as half; NaN where none."""
    matrix = pd.DataFrame(np.nan, index=list(variants), columns=list(variants))
    for item in comparisons:
        count = item.wins + item.losses + item.ties
        if count:
            matrix.loc[item.first, item.second] = (item.wins + item.ties / 2) / count
            matrix.loc[item.second, item.first] = (item.losses + item.ties / 2) / count
    return matrix


def failed_samples(table: pd.DataFrame) -> set[str]:
    """Samples of which no edit was made."""
    done = table["status"].eq("done").groupby(table["sample"]).any()
    return set(done.index[~done])


def pooled_estimate(values: pd.Series, weights: pd.Series, samples: pd.Series, *, seed: int = 0) -> Estimate:
    """A mean over all pairs of points of all edits, with its bootstrap interval over samples.

    Args:
        values: per edit the mean over its pairs; NaN are left out.
        weights: per edit the number of its pairs.
        samples: per edit the sample's name: what is resampled.
        seed: seed of the resampling.
    """
    known = values.notna() & weights.notna()
    weights = weights[known].astype(np.float64)
    totals, counts = (part.groupby(samples[known]).sum().to_numpy() for part in (values[known] * weights, weights))
    if len(totals) == 0:
        return Estimate(np.nan, np.nan, np.nan, 0)
    mean = float(totals.sum() / counts.sum())
    if len(totals) < 2:
        return Estimate(mean, np.nan, np.nan, len(totals))
    if np.ptp(totals / counts) == 0:
        return Estimate(mean, mean, mean, len(totals))
    resamples = _resamples(len(totals), seed)
    means = np.concatenate([totals[chosen].sum(axis=1) / counts[chosen].sum(axis=1) for chosen in resamples])
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Estimate(mean, float(low), float(high), len(totals))


def _interval(values: np.ndarray, seed: int) -> tuple[float, float]:
    means = np.concatenate([values[chosen].mean(axis=1) for chosen in _resamples(len(values), seed)])
    mean, tail = values.mean(), (1 - CONFIDENCE) / 2
    deviations = values - mean
    with np.errstate(invalid="ignore", divide="ignore"):
        # Leaving one value out moves the mean in proportion to its deviation, so that no jackknife need be drawn.
        acceleration = (deviations**3).sum() / (deviations**2).sum() ** 1.5 / 6
        bias = ndtri(((means < mean).mean() + (means <= mean).mean()) / 2)
        moved = bias + ndtri([tail, 1 - tail])
        ends = ndtr(bias + moved / (1 - acceleration * moved))
    if np.isnan(ends).any():
        # Among very few or nearly equal values the corrections are undefined.
        ends = np.array([tail, 1 - tail])
    low, high = np.quantile(means, ends)
    return float(low), float(high)


def _resamples(count: int, seed: int) -> Iterator[np.ndarray]:
    """Choices of `count` among `count` with replacement, one a row, in blocks of bounded size."""
    rng, rows = np.random.default_rng(seed), max(1, BLOCK // count)
    for first in range(0, RESAMPLES, rows):
        yield rng.integers(0, count, (min(rows, RESAMPLES - first), count))


def _outcomes(
    differences: pd.Series, failed_first: set[str], failed_second: set[str], common: pd.Index, metric: Metric
) -> tuple[int, int, int]:
    gains = -differences if metric.better == "lower" else differences
    wins, losses, ties = int((gains > 0).sum()), int((gains < 0).sum()), int((gains == 0).sum())
    for sample in common:
        first, second = sample in failed_first, sample in failed_second
        wins += second and not first
        losses += first and not second
        ties += first and second
    return wins, losses, ties


def _signed_rank(differences: np.ndarray) -> float:
    if len(differences) < 2:
        return float("nan")
    if not differences.any():
        return 1.0
    return float(wilcoxon(differences).pvalue)
