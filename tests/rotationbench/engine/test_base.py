from __future__ import annotations

from engine_workers import doubler, results

from rotationbench.engine.base import Alone


def test_one_worker_in_this_process_does_the_same():
    crew = Alone(doubler())
    assert not crew.remote
    assert results(crew, range(5)) == {number: 2 * number for number in range(5)}
