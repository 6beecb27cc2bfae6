"""Analysis: values worked out by other means, known populations recovered, intervals that keep their promise."""

from __future__ import annotations

import choix
import numpy as np
import pandas as pd
import pytest
from simulation import LABELS, STRENGTHS, Population, covered
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa

from evaluation.study.analysis import (
    ballots,
    kappa,
    mean_ranks,
    repeat_agreement,
    shares_by_group,
    strengths,
    vote_shares,
)
from evaluation.study.answers import Answers

POPULATIONS = (Population(), Population(samples=0.8), Population(people=0.8), Population(samples=0.6, people=0.4))


def answers_of(votes: pd.DataFrame, kind: str = "best", reasons: dict[str, str] | None = None) -> Answers:
    people = sorted(set(votes["participant"]))
    table = pd.DataFrame({"id": people, "reasons": [(reasons or {}).get(who, "") for who in people]})
    return Answers(kind, LABELS, votes.assign(repeats=votes.get("repeats")), table)


def test_shares_are_counts_and_strengths_are_those_of_choix():
    votes = Population(0.5, 0.5).votes("best", 1)
    found = ballots(votes, LABELS)
    counts = np.array([sum(chosen == (label,) for chosen in votes["chosen"]) for label in LABELS])
    shares = vote_shares(found, resamples=50)
    np.testing.assert_allclose(shares.value, counts / len(votes))
    assert (shares.low < shares.value).all() and (shares.value < shares.high).all()
    # Of four, the best are Luce choices; half a vote in advance changes little.
    data = [
        (LABELS.index(chosen[0]), [LABELS.index(label) for label in shown if label != chosen[0]])
        for shown, chosen in zip(votes["shown"], votes["chosen"], strict=True)
    ]
    np.testing.assert_allclose(strengths(found, resamples=5).value, choix.ilsr_top1(4, data), atol=0.02)


def test_pairs_and_rankings_lead_to_the_same_strengths():
    for kind in ("pairs", "rank"):
        several = [strengths(Population().ballots(kind, seed), resamples=2).value for seed in range(4)]
        np.testing.assert_allclose(np.mean(several, axis=0), STRENGTHS, atol=0.15)


def test_mean_ranks_are_means_of_ranks():
    votes = Population().votes("rank", 3)
    ranks = [[chosen.index(label) + 1 for label in LABELS] for chosen in votes["chosen"]]
    found = mean_ranks(ballots(votes, LABELS), resamples=20)
    np.testing.assert_allclose(found.value, np.mean(ranks, axis=0))


def test_a_label_that_never_or_always_won_has_a_finite_strength_and_an_exact_interval():
    votes = Population().votes("best", 0)
    votes["chosen"] = [("a",)] * len(votes)
    found = ballots(votes, LABELS)
    assert np.isfinite(strengths(found, resamples=5).value).all()
    shares = vote_shares(found, resamples=5)
    assert shares.value.tolist() == [1, 0, 0, 0]
    # The rule of three.
    assert shares.low[0] == pytest.approx(1 - shares.high[1]) and shares.high[1] == pytest.approx(3.69 / 500, rel=0.02)


def test_one_participant_or_one_sample_has_no_interval():
    votes = Population().votes("best", 0)
    for part in (votes[votes["participant"] == "p1"], votes[votes["sample"] == "s03"]):
        found = vote_shares(ballots(part, LABELS), resamples=5)
        assert not np.isnan(found.value).any() and np.isnan(found.low).all()


def test_intervals_are_wider_where_people_or_samples_differ():
    def width(population: Population) -> float:
        found = [vote_shares(population.ballots("best", seed), resamples=100) for seed in range(4)]
        return float(np.mean([each.high - each.low for each in found]))

    assert width(Population(people=1.2)) > 1.3 * width(Population())
    assert width(Population(samples=1.2)) > 1.15 * width(Population())


def test_intervals_cover_the_truth():
    population = POPULATIONS[3]
    truth = population.true_shares(20_000)
    found = [covered(vote_shares(population.ballots("best", seed), resamples=60), truth) for seed in range(10)]
    assert np.mean(found) >= 0.85


@pytest.mark.slow
@pytest.mark.parametrize("population", POPULATIONS)
def test_intervals_cover_the_truth_at_the_promised_rate(population):
    shares, logits = population.true_shares(), population.true_strengths()
    hits = np.array(
        [
            [
                covered(vote_shares(votes, resamples=200), shares),
                covered(strengths(votes, resamples=60), logits),
            ]
            for votes in (population.ballots("best", seed) for seed in range(200))
        ]
    )
    # Of 200 studies with 95 %, four labels that hang together: between these in 99 of 100 cases.
    rates = hits.mean(axis=(0, 2))
    assert (rates >= 0.92).all() and (rates <= 0.99).all(), rates


def test_kappa_is_that_of_statsmodels_and_0_by_chance_and_1_in_agreement():
    rng = np.random.default_rng(1)
    choices = rng.integers(0, 4, (30, 6))
    choices[:15] = rng.integers(0, 4, (15, 1))
    rows = [
        {"sample": f"s{sample}", "participant": f"p{person}", "shown": tuple(LABELS), "chosen": (LABELS[choice],)}
        for sample, own in enumerate(choices)
        for person, choice in enumerate(own)
    ]
    found = kappa(pd.DataFrame(rows), "best")
    assert found.value[0] == pytest.approx(fleiss_kappa(aggregate_raters(choices)[0]))
    assert found.low[0] < found.value[0] < found.high[0]
    # One rater less for one sample: five of each are drawn, or that sample is left out.
    assert kappa(pd.DataFrame(rows[1:]), "best").value[0] == pytest.approx(found.value[0], abs=0.08)
    votes = Population().votes("best", 0)
    # Where neither samples nor people differ, they agree by chance only.
    assert abs(kappa(votes, "best").value[0]) < 0.05
    alike = votes.assign(chosen=[(LABELS[int(sample[1:]) % 4],) for sample in votes["sample"]])
    assert kappa(alike, "best").value[0] == pytest.approx(1)
    assert np.isnan(kappa(votes[votes["participant"] == "p0"], "best").value[0])


def test_repeats_are_compared_with_the_first_answer():
    base = Population().votes("best", 0)
    votes = base[base["participant"].isin(["p0", "p1", "p2"])].copy()
    again = votes[votes["place"] < 4].assign(
        kind="repeat", repeats=lambda table: table["place"], place=lambda table: table["place"] + 30
    )
    again.loc[again["repeats"] == 0, "chosen"] = [
        (next(label for label in LABELS if label != chosen[0]),)
        for chosen in again.loc[again["repeats"] == 0, "chosen"]
    ]
    answers = answers_of(pd.concat([votes.assign(repeats=np.nan), again], ignore_index=True))
    found, count = repeat_agreement(answers, resamples=50)
    assert count == 12 and found.value[0] == pytest.approx(0.75)
    assert repeat_agreement(answers_of(votes.assign(repeats=np.nan)))[1] == 0


def test_who_is_left_out_has_no_votes():
    answers = answers_of(Population().votes("best", 0), reasons={"p3": "failed 1 check, 0 are allowed"})
    assert len(answers.votes) == 19 * 25 and "p3" not in set(answers.votes["participant"])


def test_groups_add_up():
    answers = answers_of(Population().votes("best", 0))
    groups = shares_by_group(answers, resamples=5)
    assert sum(count for _, count in groups["split"].values()) == 500
    assert sum(count for _, count in groups["angle"].values()) == 500
    assert next(iter(groups["angle"])) == "0°–30°"
    real = answers.votes[answers.votes["split"] == "real"]
    expected = [np.mean([chosen == (label,) for chosen in real["chosen"]]) for label in LABELS]
    np.testing.assert_allclose(groups["split"]["real"][0].value, expected)
