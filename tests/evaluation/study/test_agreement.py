from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from simulation import LABELS, Population

from evaluation.study.agreement import agreements, spearman
from evaluation.study.analysis import (
    ballots,
)


def test_metrics_that_follow_votes_agree_and_others_do_not():
    votes = Population(samples=1.0).votes("best", 0)
    found = ballots(votes, LABELS)
    rng = np.random.default_rng(0)
    rows = []
    for sample in sorted(set(votes["sample"])):
        chosen = [entry[0] for entry in votes.loc[votes["sample"] == sample, "chosen"]]
        for label in LABELS:
            count = chosen.count(label)
            rows.append({"sample": sample, "label": label, "mean_distance": 50.0 - count, "psnr": 20.0 - count,
                         "st_lpips": rng.random(), "dai_1": np.nan})  # fmt: skip
    by_name = {item.metric.name: item for item in agreements(found, pd.DataFrame(rows))}
    assert by_name["mean_distance"].per_sample.mean == pytest.approx(1)
    assert by_name["mean_distance"].per_label == 1 and by_name["mean_distance"].low > 0.7
    assert by_name["psnr"].per_sample.mean == pytest.approx(-1) and by_name["psnr"].per_label == -1
    assert abs(by_name["st_lpips"].per_sample.mean) < 0.35
    assert "dai_1" not in by_name and next(iter(by_name)) == "mean_distance"


def test_spearman_is_that_of_scipy():
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    for _ in range(5):
        first, second = rng.integers(0, 5, 9), rng.integers(0, 5, 9)
        assert spearman(first, second) == pytest.approx(spearmanr(first, second).statistic)
    assert np.isnan(spearman([1, 1], [1, 2])) and np.isnan(spearman([1, np.nan], [1, 2]))
