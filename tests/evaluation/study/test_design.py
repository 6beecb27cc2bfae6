"""Designs: complete, seeded, and balanced over samples, positions, neighbours and places."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from evaluation.study.design import EXACT, UNCHANGED, Design, balanced_orders, items, make_design


def votes(design: Design) -> list[list]:
    return [[asked for asked in paper if asked.kind == "vote"] for paper in make_design(design)]


@pytest.mark.parametrize("count", range(2, 9))
def test_orders_are_latin_and_balance_neighbours(count):
    squares = balanced_orders(count)
    for square in squares:
        assert all(sorted(row) == list(range(count)) for row in square)
        assert all(sorted(column) == list(range(count)) for column in zip(*square, strict=True))
    neighbours = Counter(pair for square in squares for row in square for pair in itertools.pairwise(row))
    assert set(neighbours.values()) == {len(squares)}
    assert len(neighbours) == count * (count - 1)


@pytest.mark.parametrize(
    ("kind", "labels"), [("best", 4), ("best", 5), ("pairs", 4), ("rank", 3), ("best", 8), ("pairs", 2)]
)
def test_samples_and_positions_are_balanced(kind, labels):
    papers = votes(Design(samples=31, labels=labels, kind=kind, participants=20, questions=25, seed=3))
    asked = Counter((vote.sample, tuple(sorted(vote.order))) for paper in papers for vote in paper)
    pool = items(31, labels, kind)
    counts = [asked[item.sample, item.labels] for item in pool]
    assert sum(counts) == 20 * 25
    assert max(counts) - min(counts) <= 1
    for paper in papers:
        own = [(vote.sample, tuple(sorted(vote.order))) for vote in paper]
        assert len(set(own)) == 25
    shown = len(papers[0][0].order)
    at = Counter(
        (vote.sample, tuple(sorted(vote.order)), *cell)
        for paper in papers
        for vote in paper
        for cell in enumerate(vote.order)
    )
    for item in pool:
        cells = [at[item.sample, item.labels, place, label] for place in range(shown) for label in item.labels]
        assert max(cells) - min(cells) <= 1
    overall = positions([vote for paper in papers for vote in paper], shown, labels)
    assert np.ptp(overall, axis=0).max() <= 0.1 * overall.mean()
    # A participant sees too little for perfect balance; by chance alone, a range of 8 would be usual.
    assert np.mean([np.ptp(positions(paper, shown, labels), axis=0).max() for paper in papers]) <= 4


def positions(asked: list, shown: int, labels: int) -> np.ndarray:
    """How often each label `(shown, labels)` stood at each position."""
    return np.array(
        [[sum(vote.order[place] == label for vote in asked) for label in range(labels)] for place in range(shown)]
    )


def test_pairs_of_labels_are_shared_out_evenly_to_each_participant():
    for paper in votes(Design(samples=31, labels=4, kind="pairs", participants=12, questions=24, seed=1)):
        counts = Counter(tuple(sorted(vote.order)) for vote in paper)
        assert len(counts) == 6 and max(counts.values()) - min(counts.values()) <= 2


def test_samples_come_early_and_late_equally_often():
    papers = votes(Design(samples=25, labels=4, kind="best", participants=20, questions=25, seed=0))
    stretches = Counter((vote.sample, place * 5 // 25) for paper in papers for place, vote in enumerate(paper))
    counts = [stretches[sample, stretch] for sample in range(25) for stretch in range(5)]
    assert max(counts) - min(counts) <= 1


def test_repeats_and_checks_stand_where_they_tell_something():
    design = Design(30, 4, "best", 20, 25, repeats=3, checks=2, checkable=(1, 4, 7), seed=5)
    right = Counter()
    for paper in make_design(design):
        assert Counter(asked.kind for asked in paper) == {"vote": 25, "repeat": 3, "check": 2}
        assert paper[0].kind == "vote"
        for place, asked in enumerate(paper):
            if asked.kind == "repeat":
                first = paper[asked.repeats]
                assert place - asked.repeats >= 4
                assert first.kind == "vote" and first.sample == asked.sample
                assert first.order != asked.order and sorted(first.order) == sorted(asked.order)
            if asked.kind == "check":
                assert asked.sample in (1, 4, 7) and sorted(asked.order) == [EXACT, UNCHANGED]
                right[asked.order.index(EXACT)] += 1
    assert right == {0: 20, 1: 20}


def test_a_design_is_its_seed_and_longer_ones_begin_as_shorter_ones():
    design = Design(10, 3, "rank", 6, 8, repeats=2, checks=1, checkable=(2,), seed=9)
    assert make_design(design) == make_design(design)
    assert make_design(design)[:3] == make_design(Design(10, 3, "rank", 3, 8, 2, 1, (2,), 9))
    assert make_design(design) != make_design(Design(10, 3, "rank", 6, 8, 2, 1, (2,), 10))


def test_without_exact_results_there_are_no_checks():
    assert {asked.kind for paper in make_design(Design(6, 2, "best", 2, 6, checks=2)) for asked in paper} == {"vote"}


@pytest.mark.parametrize("change", [{"questions": 0}, {"questions": 7}, {"repeats": 4}])
def test_what_cannot_be_asked_is_refused(change):
    with pytest.raises(ValueError, match="Expected 1 to 6 questions"):
        make_design(Design(**{"samples": 6, "labels": 2, "kind": "best", "participants": 1, "questions": 6} | change))


def test_four_hundred_participants_are_still_balanced():
    papers = votes(Design(samples=40, labels=4, kind="best", participants=400, questions=25, seed=2))
    counts = Counter(vote.sample for paper in papers for vote in paper)
    assert set(counts.values()) == {250}
