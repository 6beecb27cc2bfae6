"""What the answers say: shares of votes, strengths, and how far people agree with each other and with themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import choix
import numpy as np
import pandas as pd
from statsmodels.stats.inter_rater import fleiss_kappa

from evaluation.report.collect import angle_bin
from evaluation.study.answers import Answers
from evaluation.study.intervals import CONFIDENCE, RESAMPLES, Interval, interval, share

PRIOR = 0.5
"""Votes that each label has in advance against each other: without them a label that never won has no strength."""
KAPPA_DRAWS = 50


@dataclass(frozen=True, eq=False)
class Ballots:
    """Votes as arrays.

    Args:
        labels: L labels.
        shown: bool `(N, L)`, what an answer was given about.
        first: bool `(N, L)`, what was chosen, or ranked first.
        wins: `(N, L, L)`, 1 where the answer puts the first label before the second.
        ranks: `(N, L)`, places from 1 on; NaN where a label was not ranked.
        participants: `(N,)`.
        samples: `(N,)`.
    """

    labels: list[str]
    shown: np.ndarray
    first: np.ndarray
    wins: np.ndarray
    ranks: np.ndarray
    participants: np.ndarray
    samples: np.ndarray


def ballots(votes: pd.DataFrame, labels: Sequence[str]) -> Ballots:
    """The rows of `Answers.votes` as arrays."""
    number = {label: index for index, label in enumerate(labels)}
    count, size = len(votes), len(labels)
    shown, first = np.zeros((count, size), bool), np.zeros((count, size), bool)
    wins, ranks = np.zeros((count, size, size)), np.full((count, size), np.nan)
    for row, (options, chosen) in enumerate(zip(votes["shown"], votes["chosen"], strict=True)):
        order, everything = [number[label] for label in chosen], [number[label] for label in options]
        shown[row, everything] = True
        first[row, order[0]] = True
        if len(order) == len(everything):
            ranks[row, order] = np.arange(1, len(order) + 1)
        for place, better in enumerate(order):
            wins[row, better, [other for other in everything if other not in order[: place + 1]]] = 1
    participants, samples = votes["participant"].to_numpy(), votes["sample"].to_numpy()
    return Ballots(list(labels), shown, first, wins, ranks, participants, samples)


def vote_shares(votes: Ballots, *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Of the answers about a label, the share that chose it (or ranked it first)."""
    return share(votes.first, votes.shown, votes.participants, votes.samples, resamples=resamples, seed=seed)


def strengths(votes: Ballots, *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Logarithms of Bradley–Terry strengths, their mean 0: exp(a − b) are the odds of a before b.

    The best of many counts as a win over each of the others, and a ranking as all its pairs; under Luce's axiom both
    lead to the same strengths. Fitted by choix (Maystre and Grossglauser, NeurIPS 2015), with half a vote for each
    label against each other in advance.
    """
    size = len(votes.labels)
    flat = votes.wins.reshape(len(votes.wins), -1)
    prior = PRIOR * (1 - np.eye(size))

    def statistic(weights: np.ndarray) -> np.ndarray:
        counts = (weights @ flat).reshape(-1, size, size) + prior
        return np.stack([choix.ilsr_pairwise_dense(matrix) for matrix in counts])

    return interval(statistic, votes.participants, votes.samples, resamples=resamples, seed=seed)


def mean_ranks(votes: Ballots, *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Mean places from 1 on, where labels were ranked."""
    ranked = ~np.isnan(votes.ranks)
    places = np.nan_to_num(votes.ranks)

    def statistic(weights: np.ndarray) -> np.ndarray:
        return (weights @ places) / (weights @ ranked)

    return interval(statistic, votes.participants, votes.samples, resamples=resamples, seed=seed)


def kappa(votes: pd.DataFrame, kind: str, *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Fleiss' κ of the choices (Fleiss, 1971; by statsmodels), with a percentile interval over what was asked.

    κ needs as many people for each question. Where their numbers differ, as many as use most answers are drawn from
    each question's, and κ is the mean over 50 draws. Between two edits, a choice is the first or the second in the
    order of the labels; between more it is the label.
    """
    rng = np.random.default_rng(seed)
    asked: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for sample, shown, chosen in zip(votes["sample"], votes["shown"], votes["chosen"], strict=True):
        options = tuple(sorted(shown))
        choice = str(options.index(chosen[0])) if kind == "pairs" else chosen[0]
        asked.setdefault((sample, options), []).append(choice)
    sizes = Counter(len(choices) for choices in asked.values())
    raters = max(
        (size for size in sizes if size >= 2),
        key=lambda size: size * sum(count for other, count in sizes.items() if other >= size),
        default=0,
    )
    several = [choices for choices in asked.values() if len(choices) >= raters]
    nothing = Interval(*(np.array([np.nan]) for _ in range(3)))
    if raters == 0 or len(several) < 2:
        return nothing
    names = sorted({choice for choices in several for choice in choices})

    def table() -> np.ndarray:
        drawn = [Counter(rng.permutation(choices)[:raters].tolist()) for choices in several]
        return np.array([[counts[name] for name in names] for counts in drawn])

    tables = [table() for _ in range(KAPPA_DRAWS)]
    with np.errstate(invalid="ignore"):
        value = np.mean([fleiss_kappa(each) for each in tables])
        again = rng.integers(0, len(several), (resamples, len(several)))
        spread = [fleiss_kappa(tables[number % KAPPA_DRAWS][rows]) for number, rows in enumerate(again)]
    if np.isnan(value):
        return nothing
    low, high = np.nanquantile(spread, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(np.array([value]), np.array([low]), np.array([high]))


def repeat_agreement(answers: Answers, *, resamples: int = RESAMPLES, seed: int = 0) -> tuple[Interval, int]:
    """Share of the questions asked twice that got the same choice (or first rank), and how many there were."""
    counted = answers.counted
    first = {(row.participant, row.place): row.chosen[0] for row in counted.itertuples()}
    again = counted[counted["kind"] == "repeat"]
    same = np.array([[first[row.participant, row.repeats] == row.chosen[0]] for row in again.itertuples()], float)
    if not len(again):
        return Interval(*(np.array([np.nan]) for _ in range(3))), 0
    people, samples = again["participant"].to_numpy(), again["sample"].to_numpy()
    return share(same, np.ones_like(same), people, samples, resamples=resamples, seed=seed), len(again)


def shares_by_group(
    answers: Answers, *, resamples: int = RESAMPLES, seed: int = 0
) -> Mapping[str, Mapping[str, tuple[Interval, int]]]:
    """Shares of votes and numbers of answers by split, and by bins of the wanted turn, where there are several."""
    votes = answers.votes
    groupings = {"split": votes["split"], "angle": votes["angle"].map(angle_bin)}
    found: dict[str, dict[str, tuple[Interval, int]]] = {}
    for grouping, groups in groupings.items():
        parts = {str(name): part for name, part in votes.groupby(groups)}
        if len(parts) > 1:
            names = sorted(parts, key=lambda name: (len(name.split("°")[0]), name)) if grouping == "angle" else parts
            found[grouping] = {
                name: (
                    vote_shares(ballots(parts[name], answers.labels), resamples=resamples, seed=seed),
                    len(parts[name]),
                )
                for name in names
            }
    return found
