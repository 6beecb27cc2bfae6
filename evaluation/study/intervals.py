"""Intervals for what many people said of many samples: both are drawn from more that there are.

An answer shares its participant with some answers and its sample with others. The variance of an estimate is found by
resampling participants, samples, and single answers, and is V_participants + V_samples − V_answers (Cameron, Gelbach
and Miller, "Robust inference with multiway clustering", Journal of Business & Economic Statistics 29, 2011; each
variance by the bootstrap). Resampling both at once would count the answers' own chance three times (Owen, "The
pigeonhole bootstrap", Annals of Applied Statistics 1, 2007).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 400
"""Per way of resampling."""

Statistic = Callable[[np.ndarray], np.ndarray]
"""From weights `(R, N)` of N answers to R × K estimates `(R, K)`."""


@dataclass(frozen=True, eq=False)
class Interval:
    """Estimates with 95 % intervals, `(K,)` each; ends are NaN with fewer than two participants or samples."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def interval(
    statistic: Statistic, participants: np.ndarray, samples: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Estimates with intervals that are symmetric about them.

    Args:
        statistic: what is estimated.
        participants: `(N,)`, who gave each answer.
        samples: `(N,)`, what each answer is about.
        resamples: per way of resampling.
        seed: seed of the resampling.
    """
    value = statistic(np.ones((1, len(participants))))[0]
    error, freedom = standard_error(statistic, participants, samples, resamples=resamples, seed=seed)
    reach = stats.t.ppf((1 + CONFIDENCE) / 2, freedom) * error
    return Interval(value, value - reach, value + reach)


def share(
    counted: np.ndarray,
    of: np.ndarray,
    participants: np.ndarray,
    samples: np.ndarray,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Shares with intervals, symmetric in their logits; exact binomial ones (Clopper and Pearson) for 0 and 1.

    Args:
        counted: `(N, K)`, 1 where an answer counts for a share.
        of: `(N, K)`, 1 where it could have counted.
        participants: `(N,)`, who gave each answer.
        samples: `(N,)`, what each answer is about.
        resamples: per way of resampling.
        seed: seed of the resampling.
    """

    def statistic(weights: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return (weights @ counted) / (weights @ of)

    value = statistic(np.ones((1, len(participants))))[0]
    error, freedom = standard_error(statistic, participants, samples, resamples=resamples, seed=seed)
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, freedom)
    low, high = np.full_like(value, np.nan), np.full_like(value, np.nan)
    for index, (part, total) in enumerate(zip(counted.sum(axis=0), of.sum(axis=0), strict=True)):
        if np.isnan(error[index]) or not total:
            continue
        if 0 < part < total:
            logit = np.log(value[index] / (1 - value[index]))
            reach = quantile * error[index] / (value[index] * (1 - value[index]))
            low[index], high[index] = 1 / (1 + np.exp(-(logit + np.array([-reach, reach]))))
        else:
            exact = stats.binomtest(int(part), int(total)).proportion_ci(CONFIDENCE)
            low[index], high[index] = exact.low, exact.high
    return Interval(value, low, high)


def standard_error(
    statistic: Statistic, participants: np.ndarray, samples: np.ndarray, *, resamples: int, seed: int
) -> tuple[np.ndarray, int]:
    """Standard errors `(K,)`, and t's degrees of freedom: the smaller number of participants or samples, less 1."""
    rng = np.random.default_rng(seed)
    people, which = np.unique(participants, return_inverse=True)
    things, what = np.unique(samples, return_inverse=True)
    counts = (len(people), len(things), len(participants))
    if min(counts) < 2:
        return np.full(statistic(np.ones((1, len(participants)))).shape[1], np.nan), 1
    variances = []
    for count, members in zip(counts, (which, what, np.arange(len(participants))), strict=True):
        weights = rng.multinomial(count, np.full(count, 1 / count), size=resamples).astype(np.float64)
        # The bootstrap's variance of n units is (n − 1)/n of what is wanted.
        variances.append(np.nanvar(statistic(weights[:, members]), axis=0) * count / (count - 1))
    by_people, by_things, by_answers = variances
    variance = np.maximum(by_people + by_things - by_answers, np.maximum(by_people, by_things))
    return np.sqrt(variance), min(len(people), len(things)) - 1
