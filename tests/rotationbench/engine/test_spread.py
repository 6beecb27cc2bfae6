from __future__ import annotations

import itertools
import os

import pytest
from engine_workers import Doubler, InMemory, doubler, results

from rotationbench.engine.host import Call
from rotationbench.engine.spread import DEATHS, Spread
from rotationbench.errors import CheckpointError, EngineError


@pytest.mark.parametrize("most", [1, 3, 50])
def test_every_item_is_done_once_by_no_more_workers_than_there_is_room_for(most):
    hosts = InMemory(most)
    crew = Spread(hosts, doubler())
    assert crew.ask("pid") > 0
    assert len(hosts.workers) == 1
    assert results(crew, range(20)) == {number: 2 * number for number in range(20)}
    assert len(hosts.workers) == hosts.at_once == min(most, 20)


def test_deaths_cost_nothing_but_the_items_in_flight():
    hosts = InMemory(4, dying=0.2)
    outcomes = list(Spread(hosts, doubler()).work(iter(range(200)), 200))
    assert sorted(outcome.item for outcome in outcomes) == list(range(200))
    lost = [outcome for outcome in outcomes if outcome.death is not None]
    assert all(outcome.result == 2 * outcome.item for outcome in outcomes if outcome.death is None)
    # One in 125 dies three times in a row.
    assert len(lost) < 10


def test_an_item_that_kills_its_hosts_is_given_up_and_the_others_are_done():
    hosts = InMemory(2)
    outcomes = {outcome.item: outcome for outcome in Spread(hosts, doubler()).work(iter([1, "poison", 2, 3]), 4)}
    assert outcomes["poison"].death == "; ".join(["SIGKILL"] * DEATHS)
    assert [outcomes[number].result for number in (1, 2, 3)] == [2, 4, 6]


def test_items_are_drawn_when_somebody_is_free_and_asked_for_again_when_there_are_none():
    hosts, drawn = InMemory(2), []

    def items():
        for number in range(6):
            yield None
            # What is drawn is held against others.
            assert len(hosts.pending) < 2
            drawn.append(number)
            yield number

    outcomes = [outcome.item for outcome in Spread(hosts, doubler()).work(items(), 6)]
    assert sorted(outcomes) == drawn == list(range(6))


def test_what_a_worker_raises_ends_the_run():
    crew = Spread(InMemory(2), doubler())
    with pytest.raises(ZeroDivisionError):
        list(crew.work(iter([1, ZeroDivisionError()]), 2))
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        Spread(InMemory(2), doubler("broken")).ask("pid")


def test_what_an_earlier_crew_did_not_wait_for_is_no_answer_to_this_one():
    hosts = InMemory(2)
    for number in range(2):
        hosts.start()
        hosts.left.append((number, Call("setup", (doubler("earlier"),))))
    hosts.left.append((0, Call("__call__", (50,))))
    crew = Spread(hosts, doubler())
    assert crew.ask("pid") == os.getpid()
    assert results(crew, range(20)) == {number: 2 * number for number in range(20)}
    assert list(hosts.workers) == [0, 1] and hosts.left == []


def test_workers_that_differ_are_refused():
    kinds = itertools.cycle(["good", "other"])
    crew = Spread(InMemory(2, pickled=False), lambda remote: Doubler(next(kinds), remote=remote))
    with pytest.raises(EngineError, match="the same model, number type and packages, got good and other"):
        list(crew.work(iter(range(9)), 9))


def test_hosts_that_stay_away_end_the_run():
    hosts = InMemory(2)
    hosts.nobody = "engine.resources: expected a node"
    with pytest.raises(EngineError, match="expected a node"):
        Spread(hosts, doubler()).ask("pid")
