"""Participants whose preferences are known: each label has a strength, which samples and people change by chance."""

from __future__ import annotations

from dataclasses import dataclass

import choix
import numpy as np
import pandas as pd

from evaluation.study.analysis import Ballots, ballots
from evaluation.study.design import Design, make_design

STRENGTHS = np.array([0.9, 0.3, -0.2, -1.0])
LABELS = ["a", "b", "c", "d"]


@dataclass(frozen=True)
class Population:
    """What is true: strengths in logits, and the standard deviations of what samples and people add to each label's."""

    samples: float = 0.0
    people: float = 0.0

    def true_shares(self, draws: int = 200_000) -> np.ndarray:
        """Shares of votes, of four, in the whole population."""
        rng = np.random.default_rng(0)
        logits = STRENGTHS + rng.normal(0, np.hypot(self.samples, self.people), (draws, 4))
        chances = np.exp(logits)
        return (chances / chances.sum(axis=1, keepdims=True)).mean(axis=0)

    def true_strengths(self) -> np.ndarray:
        """What Bradley–Terry's strengths of the best of four converge to; without effects, `STRENGTHS` itself."""
        wins = np.tile(self.true_shares()[:, None], (1, 4)) * (1 - np.eye(4))
        return choix.ilsr_pairwise_dense(wins)

    def votes(self, kind: str, seed: int, samples: int = 31) -> pd.DataFrame:
        """A study of 20 participants with 25 questions each."""
        rng = np.random.default_rng([7, seed])
        by_sample, by_person = rng.normal(0, self.samples, (samples, 4)), rng.normal(0, self.people, (20, 4))
        rows = []
        for person, paper in enumerate(make_design(Design(samples, 4, kind, 20, 25, seed=seed))):
            for place, asked in enumerate(paper):
                logits = (STRENGTHS + by_sample[asked.sample] + by_person[person])[list(asked.order)]
                order = np.argsort(-(logits + rng.gumbel(size=len(logits))))
                chosen = order if kind == "rank" else order[:1]
                rows.append(
                    {
                        "participant": f"p{person}",
                        "place": place,
                        "kind": "vote",
                        "sample": f"s{asked.sample:02d}",
                        "split": "real" if asked.sample % 2 else "generated",
                        "angle": 20.0 + 4 * asked.sample,
                        "shown": tuple(LABELS[option] for option in asked.order),
                        "chosen": tuple(LABELS[asked.order[position]] for position in chosen),
                    }
                )
        return pd.DataFrame(rows)

    def ballots(self, kind: str, seed: int) -> Ballots:
        """The same as arrays."""
        return ballots(self.votes(kind, seed), LABELS)


def covered(found, truth: np.ndarray) -> np.ndarray:
    """Whether each interval holds the truth."""
    return (found.low <= truth) & (truth <= found.high)
