"""Statistics: intervals, repeated seeds, paired tests, and failures that count."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, bootstrap
from statsmodels.stats.multitest import multipletests

from evaluation.report.columns import BY_NAME
from evaluation.report.statistics import (
    RESAMPLES,
    compare,
    estimate,
    failed_samples,
    values_by_sample,
    win_rates,
    with_holm,
)

ERROR, PSNR = BY_NAME["rotation_error"], BY_NAME["psnr"]


def table_of(values: dict[str, list[list[float | None]]], metric: str = "rotation_error") -> pd.DataFrame:
    """Per method and sample the values of its seeds; None is a failed edit."""
    rows = [
        {"variant": method, "sample": f"s{number:02d}", "seed": seed, "status": "failed" if value is None else "done"}
        | {metric: np.nan if value is None else value}
        for method, samples in values.items()
        for number, seeds in enumerate(samples)
        for seed, value in enumerate(seeds)
    ]
    return pd.DataFrame(rows)


def test_the_interval_of_a_normal_mean_is_the_textbook_s():
    values = np.random.default_rng(0).normal(10, 2, 400)
    found = estimate(values)
    half = 1.96 * values.std(ddof=1) / np.sqrt(400)
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)
    assert found.samples == 400


@pytest.mark.parametrize("count", [3, 30, 700])
def test_the_interval_is_scipy_s(count):
    values = np.random.default_rng(count).gamma(1.5, size=count)
    found = estimate(values, seed=7)
    settings = {"n_resamples": RESAMPLES, "method": "BCa", "rng": np.random.default_rng(7)}
    expected = bootstrap((values,), np.mean, **settings).confidence_interval
    assert (found.low, found.high) == pytest.approx(tuple(expected), rel=1e-12)


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(60):
        found = estimate(rng.normal(0, 1, 40))
        hits += found.low <= 0 <= found.high
    # Beyond these bounds a 95 % interval falls once in ten thousand runs.
    assert binom.ppf(1e-4, 60, 0.95) <= hits


def test_small_and_equal_samples():
    assert np.isnan(estimate(np.array([])).mean)
    one = estimate(np.array([3.0, np.nan]))
    assert (one.mean, one.samples) == (3, 1)
    assert np.isnan(one.low)
    equal = estimate(np.full(5, 2.5))
    assert (equal.low, equal.high) == (2.5, 2.5)
    two = estimate(np.array([1.0, 2.0]))
    assert 1 <= two.low <= two.high <= 2


def test_repeated_seeds_narrow_nothing():
    once = table_of({"a": [[1.0], [2.0], [4.0], [8.0]]})
    often = table_of({"a": [[1.0] * 5, [2.0] * 5, [4.0] * 5, [8.0] * 5]})
    found = [estimate(values_by_sample(table, ERROR).to_numpy()) for table in (once, often)]
    assert found[0] == found[1]
    assert found[0].samples == 4


def test_a_sample_with_more_seeds_has_no_more_weight():
    assert values_by_sample(table_of({"a": [[1.0, 1.0, 1.0], [5.0]]}), ERROR).mean() == 3
    assert values_by_sample(table_of({"a": [[1.0, None], [5.0]]}), ERROR).mean() == 3


def test_infinite_psnr_counts_as_the_ceiling():
    values = values_by_sample(table_of({"a": [[np.inf], [20.0]]}, "psnr"), PSNR)
    assert values.tolist() == [100, 20]


def test_six_gains_out_of_six_have_the_exact_p_of_two_in_sixty_four():
    worse, better = [[10.0 + n] for n in range(6)], [[float(n) / 2] for n in range(6)]
    (found,) = compare(table_of({"a": better, "b": worse}), ERROR, ["a", "b"])
    assert found.p == pytest.approx(2 / 64)
    assert found.p_holm == found.p
    assert (found.wins, found.losses, found.ties) == (6, 0, 0)
    assert found.difference.mean == pytest.approx(np.mean([n / 2 - 10 - n for n in range(6)]))
    assert found.difference.high < 0


def test_a_higher_metric_wins_the_other_way_round():
    (found,) = compare(table_of({"a": [[1.0], [2.0]], "b": [[3.0], [2.0]]}, "psnr"), PSNR, ["a", "b"])
    assert (found.wins, found.losses, found.ties) == (0, 1, 1)


def test_holm_by_hand():
    table = table_of({"a": [[0.0], [1.0]], "b": [[2.0], [3.0]], "c": [[5.0], [7.0]]})
    three = compare(table, ERROR, ["a", "b", "c"])
    changed = [type(item)(**{**vars(item), "p": p}) for item, p in zip(three, (0.01, 0.04, 0.03), strict=True)]
    # 3·0.01; then 2·0.03; then 0.04, but not below the one before.
    assert [item.p_holm for item in with_holm(changed)] == pytest.approx([0.03, 0.06, 0.06])


def test_holm_is_that_of_statsmodels_and_passes_over_what_was_not_tested():
    table = table_of({"a": [[0.0], [1.0]], "b": [[2.0], [3.0]]})
    (one,) = compare(table, ERROR, ["a", "b"])
    chance = np.random.default_rng(0)
    for count in (1, 2, 7):
        p = chance.uniform(0, 0.3, count)
        found = [item.p_holm for item in with_holm([replace(one, p=value) for value in (np.nan, *p)])]
        assert np.isnan(found[0])
        np.testing.assert_allclose(found[1:], multipletests(p, method="holm")[1])


def test_only_common_samples_are_compared():
    table = table_of({"a": [[1.0], [2.0], [3.0]], "b": [[2.0], [3.0]]})
    (found,) = compare(table, ERROR, ["a", "b"])
    assert found.difference.samples == 2
    apart = table[(table["variant"] == "a") & (table["sample"] == "s02") | (table["variant"] == "b")]
    assert compare(apart, ERROR, ["a", "b"]) == []


def test_failed_edits_lose_and_are_not_dropped():
    table = table_of({"a": [[1.0], [None], [None], [4.0, None]], "b": [[2.0], [3.0], [None], [9.0]]})
    assert failed_samples(table[table["variant"] == "a"]) == {"s01", "s02"}
    (found,) = compare(table, ERROR, ["a", "b"])
    assert (found.wins, found.losses, found.ties) == (2, 1, 1)
    assert found.difference.samples == 2


def test_undetermined_values_are_neither_won_nor_lost():
    table = table_of({"a": [[1.0], [np.nan]], "b": [[2.0], [3.0]]})
    (found,) = compare(table, ERROR, ["a", "b"])
    assert (found.wins, found.losses, found.ties) == (1, 0, 0)


def test_win_rates_of_both_directions_add_up_to_one():
    table = table_of({"a": [[1.0], [2.0], [3.0], [4.0]], "b": [[2.0], [3.0], [1.0], [4.0]], "c": [[9.0]] * 4})
    names = ["a", "b", "c"]
    matrix = win_rates(compare(table, ERROR, names), names)
    assert matrix.loc["a", "b"] == pytest.approx((2 + 0.5) / 4)
    assert matrix.loc["b", "a"] == pytest.approx(1 - matrix.loc["a", "b"])
    assert matrix.loc["a", "c"] == 1
    assert np.isnan(matrix.loc["a", "a"])


def test_equal_methods_have_p_one_and_metrics_without_a_better_are_not_compared():
    same = [[1.0], [2.0], [3.0]]
    (found,) = compare(table_of({"a": same, "b": same}), ERROR, ["a", "b"])
    assert (found.p, found.ties) == (1, 3)
    turns = table_of({"a": same, "b": same}, "rotation_turn")
    assert compare(turns, BY_NAME["rotation_turn"], ["a", "b"]) == []
