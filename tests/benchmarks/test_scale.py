from __future__ import annotations

import pytest

from benchmarks.scale import Costs, simulate

FREE = Costs(order=0.0, take=0.0, row=0.0, table=0.0, sent=0, received=0, stored=0)


def test_a_run_that_costs_nothing_scales_with_its_actors():
    for actors in (1, 8, 64):
        found = simulate(actors, 6400, 30.0, 0.0, FREE)
        assert found.hours == pytest.approx(6400 * 30 / actors / 3600)
        assert found.busy == pytest.approx(1.0)
        assert found.run == 0


def test_a_run_is_no_faster_than_what_it_does_itself():
    costs = Costs(order=0.1, take=0.1, row=0.0, table=0.0, sent=1000, received=1000, stored=1000)
    found = simulate(512, 6400, 30.0, 0.3, costs)
    assert found.hours >= 6400 * 0.2 / 3600
    assert found.run > 0.9 and found.busy < 0.35
    few = simulate(8, 6400, 30.0, 0.3, costs)
    assert few.busy > 0.99
    assert few.run == pytest.approx(6400 * 0.2 / (few.hours * 3600))


def test_tables_take_a_bounded_share_of_the_time():
    costs = Costs(order=0.0, take=0.0, row=0.01, table=1.0, sent=0, received=0, stored=0)
    found = simulate(64, 6400, 30.0, 0.3, costs)
    assert 0.02 < found.tables < 0.1
