"""Workers for the tests of engines, which need no model; hosts in memory, which need no process; what crews promise."""

from __future__ import annotations

import itertools
import logging
import os
import pickle
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

from rotationbench.engine import Crew, Setup, Worker
from rotationbench.engine.host import Call, Reply
from rotationbench.engine.spread import Spread
from rotationbench.errors import CheckpointError


class Doubler:
    """Doubles numbers; `"poison"` kills its process, `"slow"` takes a while, an exception is raised.

    A `"broken"` one cannot be made, and a `"late"` one takes its time.
    """

    def __init__(self, kind: str, *, remote: bool) -> None:
        self.kind, self.remote = kind, remote

    def prepare(self) -> str:
        logging.getLogger("rotationbench.test").warning("made")
        if self.kind == "broken":
            raise CheckpointError("there is no such checkpoint")
        if self.kind == "late":
            time.sleep(1)
        return self.kind

    def pid(self) -> int:
        return os.getpid()

    def __call__(self, item: Any) -> Any:
        if isinstance(item, Exception):
            raise item
        if item == "poison":
            os.kill(os.getpid(), signal.SIGKILL)
        if item == "slow":
            time.sleep(60)
        logging.getLogger("rotationbench.test").warning("item %s", item)
        return 2 * item


def doubler(kind: str = "good") -> partial[Doubler]:
    return partial(Doubler, kind)


class InMemory:
    """Hosts that answer in any order, die of `"poison"`, and of chance where they are told to.

    Args:
        most: how many there can be.
        dying: the probability that an item ends its host.
        pickled: whether what is sent is pickled on the way, as it is between processes.
    """

    def __init__(self, most: int, *, dying: float = 0.0, pickled: bool = True) -> None:
        self.most, self.dying = most, dying
        self.random = random.Random(0)
        self.through = (lambda sent: pickle.loads(pickle.dumps(sent))) if pickled else (lambda sent: sent)
        self.workers: dict[int, Worker | None] = {}
        self.pending: list[tuple[int, Call]] = []
        # Calls of an earlier crew that nobody waits for: they are answered first.
        self.left: list[tuple[int, Call]] = []
        self.number = itertools.count()
        self.at_once = 0
        self.nobody: str | None = None

    def alive(self):
        return list(self.workers)

    def start(self):
        host = next(self.number)
        self.workers[host] = None
        return host

    def send(self, host, call):
        assert host not in [other for other, _ in self.pending], "a host answers one call at a time"
        self.pending.append((host, self.through(call)))
        self.at_once = max(self.at_once, len(self.pending))

    def receive(self, seconds):
        if self.left:
            host, call = self.left.pop(0)
        elif self.pending:
            host, call = self.pending.pop(self.random.randrange(len(self.pending)))
        else:
            return []
        try:
            value = self.answer(host, call)
        except Exception as error:
            return [(host, Reply(call.number, error=error))]
        # A host may die with its work done and nothing handed over.
        if call.name == "__call__" and (call.arguments[0] == "poison" or self.random.random() < self.dying):
            del self.workers[host]
            return [(host, "SIGKILL")]
        return [(host, self.through(Reply(call.number, value)))]

    def answer(self, host, call):
        if call.name == "setup":
            worker = self.workers[host] = call.arguments[0](remote=True)
            return worker.prepare()
        if call.arguments == ("poison",):
            return None
        return getattr(self.workers[host], call.name)(*call.arguments)

    def absent(self):
        return self.nobody

    def stop(self):
        self.workers.clear()


class InMemoryEngine:
    """An engine on such hosts."""

    elsewhere: ClassVar[bool] = True

    def __init__(self, hosts: InMemory) -> None:
        self.hosts = hosts

    @contextmanager
    def crew(self, setup: Setup, workers: int | None, device: str) -> Iterator[Crew]:
        yield Spread(self.hosts, setup)


def check(engine, caplog) -> None:
    """What every engine with processes of its own promises."""
    with engine.crew(doubler(), 2, "cpu") as crew:
        first = crew.ask("pid")
        assert first != os.getpid()
        outcomes = {outcome.item: outcome for outcome in crew.work(iter([1, "poison", 2, 3]), 4)}
    assert [outcomes[number].result for number in (1, 2, 3)] == [2, 4, 6]
    assert outcomes["poison"].death.count(";") == 2
    said = [record.getMessage() for record in caplog.records]
    assert {"item 1", "item 2", "item 3"} <= set(said)
    assert said.count("made") == 1
    # Another crew finds the processes as the first one left them.
    with engine.crew(doubler(), 2, "cpu") as crew:
        pids = {crew.ask("pid") for _ in range(3)}
    assert pids
    # What one crew leaves unanswered is no answer to the next.
    with engine.crew(doubler("late"), 2, "cpu") as crew:
        next(crew.work(iter([4, 5, 6]), 3))
    with engine.crew(doubler(), 2, "cpu") as crew:
        assert results(crew, range(5)) == {number: 2 * number for number in range(5)}
        assert isinstance(crew.ask("pid"), int)


def results(crew, items):
    return {outcome.item: outcome.result for outcome in crew.work(iter(items), len(items))}
