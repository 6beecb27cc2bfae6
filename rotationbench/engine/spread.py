"""Work spread over hosts that may die: each item is done once, and one that kills its hosts is given up."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from rotationbench.engine.base import POLL_SECONDS, Outcome, Setup
from rotationbench.engine.host import Call, Reply, levels_here, said_here
from rotationbench.errors import EngineError

DEATHS = 3
"""How many hosts an item, or the making of a worker, may cost."""
ITEM = "__call__"


class Hosts(Protocol):
    """Processes that can be had, each with a `Host`; what they have loaded outlasts a crew."""

    most: int
    """How many there can be at the same time."""

    def alive(self) -> list[Hashable]:
        """Those there are, or that are about to be."""
        ...

    def start(self) -> Hashable:
        """Another one; it need not be there yet."""
        ...

    def send(self, host: Hashable, call: Call) -> None:
        """Put a call to a host, which answers one at a time."""
        ...

    def receive(self, seconds: float) -> list[tuple[Hashable, Reply | str]]:
        """Replies that have come, or how hosts ended; waits so long for the first."""
        ...

    def absent(self) -> str | None:
        """Why there is none that could work, as a sentence; None when there is one, or one may still come."""
        ...

    def stop(self) -> None:
        """End them all."""
        ...


@dataclass
class _Ticket:
    call: Call
    deaths: list[str] = field(default_factory=list)


class Spread:
    """Workers on hosts.

    Args:
        hosts: where they are.
        setup: makes one.
    """

    remote = True

    def __init__(self, hosts: Hosts, setup: Setup) -> None:
        self._hosts, self._setup = hosts, Call("setup", (setup,), levels_here())
        self._unset = deque(hosts.alive())
        self._idle: deque[Hashable] = deque()
        self._busy: dict[Hashable, _Ticket] = {}
        self._waiting: deque[_Ticket] = deque()
        self._kind: tuple[Any] | None = None
        self._lost_in_setup = 0
        self._said: set[str] = set()

    def ask(self, question: str, *arguments: Any) -> Any:
        """See `Crew.ask`."""
        self._waiting.append(_Ticket(Call(question, arguments)))
        while True:
            self._give(1)
            for ticket, answer in self._settle(POLL_SECONDS):
                if isinstance(answer, str):
                    raise EngineError(f"each of {DEATHS} workers ended when it was asked for its {question}: {answer}.")
                if ticket.call.name == question:
                    return answer.value

    def work(self, items: Iterator[Any], count: int) -> Iterator[Outcome]:
        """See `Crew.work`."""
        exhausted, most = False, max(1, min(count, self._hosts.most))
        while True:
            # One is drawn only when somebody is free for it: what is drawn is held against other runs.
            while self._idle and not self._waiting and not exhausted:
                item = next(items, self)
                exhausted = item is self
                if item is None:
                    break
                if not exhausted:
                    self._waiting.append(_Ticket(Call(ITEM, (item,))))
                    self._give(most)
            self._give(most if not exhausted else 0)
            if exhausted and not self._waiting and not any(ticket.call.name == ITEM for ticket in self._busy.values()):
                return
            for ticket, answer in self._settle(POLL_SECONDS):
                (item,) = ticket.call.arguments
                if isinstance(answer, str):
                    yield Outcome(item, None, death=answer)
                else:
                    yield Outcome(item, answer.value)

    def _give(self, wanted: int) -> None:
        """Hand what waits to who is free, and see that as many workers are wanted are there or being made."""
        while self._waiting and self._idle:
            host, ticket = self._idle.popleft(), self._waiting.popleft()
            self._busy[host] = ticket
            self._hosts.send(host, ticket.call)
        while len(self._idle) + len(self._busy) < max(wanted, bool(self._waiting)):
            host = self._unset.popleft() if self._unset else self._hosts.start()
            self._busy[host] = _Ticket(self._setup)
            self._hosts.send(host, self._setup)

    def _settle(self, seconds: float) -> list[tuple[_Ticket, Reply | str]]:
        """What has come of tickets: the reply, or how each of the hosts ended that were at it."""
        settled: list[tuple[_Ticket, Reply | str]] = []
        for host, answer in self._hosts.receive(seconds):
            ticket = self._busy.get(host)
            if isinstance(answer, Reply):
                # A reply that an earlier crew did not wait for is none to this one.
                if ticket is not None and answer.number in (ticket.call.number, None):
                    del self._busy[host]
                    self._idle.append(host)
                    self._came(ticket, answer, settled)
            elif ticket is not None:
                del self._busy[host]
                self._died(ticket, answer, settled)
            else:
                # It ended while it had nothing to do.
                for free in (self._idle, self._unset):
                    if host in free:
                        free.remove(host)
        if reason := self._hosts.absent():
            raise EngineError(reason)
        return settled

    def _came(self, ticket: _Ticket, reply: Reply, settled: list[tuple[_Ticket, Reply | str]]) -> None:
        if ticket.call is not self._setup:
            said_here(reply.said)
        else:
            # Every worker says the same when it is made.
            said_here([record for record in reply.said if record.getMessage() not in self._said])
            self._said |= {record.getMessage() for record in reply.said}
        if reply.error is not None:
            raise reply.error
        if ticket.call is not self._setup:
            settled.append((ticket, reply))
            return
        self._lost_in_setup = 0
        if self._kind is None:
            self._kind = (reply.value,)
        elif self._kind != (reply.value,):
            differing = _differing(self._kind[0], reply.value)
            raise EngineError(f"workers: expected the same model, number type and packages, got {differing}.")

    def _died(self, ticket: _Ticket, how: str, settled: list[tuple[_Ticket, Reply | str]]) -> None:
        if ticket.call is self._setup:
            self._lost_in_setup += 1
            if self._lost_in_setup >= DEATHS:
                raise EngineError(f"workers: {DEATHS} in a row ended while they were made ({how}).")
            return
        ticket.deaths.append(how)
        if len(ticket.deaths) < DEATHS:
            self._waiting.appendleft(ticket)
        else:
            settled.append((ticket, "; ".join(ticket.deaths)))


def _differing(first: Any, second: Any) -> str:
    if isinstance(first, dict) and isinstance(second, dict):
        keys = [key for key in first.keys() | second.keys() if first.get(key) != second.get(key)]
        return ", ".join(f"{key}: {_differing(first.get(key), second.get(key))}" for key in sorted(keys))
    return f"{first} and {second}"
