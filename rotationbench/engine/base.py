"""What an engine is: workers that each load once what they work with, and do one item after another."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

POLL_SECONDS = 0.5
"""How often it is looked whether there is something to do, when for the moment there is nothing."""


class Worker(Protocol):
    """Does one item after another. Other methods of it are questions that `Crew.ask` may put.

    An exception that it raises ends the run: what concerns one item alone belongs into that item's result.
    """

    def prepare(self) -> Any:
        """Load what all items need; called once, before the first question and the first item.

        Returns:
            What must be the same for all workers, so that it does not matter which of them does an item.
        """
        ...

    def __call__(self, item: Any, /) -> Any:
        """Do one item; items and results must be picklable when the engine is not serial."""
        ...


Setup = Callable[..., Worker]
"""Makes a worker in the process in which it will work; must be picklable when the engine is not serial.

It is called with `remote=True` where that is a process of its own, perhaps on another machine, to which everything is
handed, and with `remote=False` otherwise.
"""


@dataclass(frozen=True)
class Outcome:
    """What came of one item.

    Args:
        item: the item.
        result: what the worker made of it; None when there is a `death`.
        death: how the processes that were at it ended, when each of them did; None when there is a result.
    """

    item: Any
    result: Any
    death: str | None = None


class Crew(Protocol):
    """Workers of one kind, ready to be asked and put to work."""

    remote: bool
    """Whether the workers are processes of their own, to which everything must be handed."""

    def ask(self, question: str, *arguments: Any) -> Any:
        """What the method `question` of one worker answers."""
        ...

    def work(self, items: Iterator[Any], count: int) -> Iterator[Outcome]:
        """Do items, in any order, each once; the next is drawn when a worker is free for it.

        Args:
            items: None among them means that for the moment there is none, and that it is asked again later.
            count: how many items there are at most: no more workers are made ready.
        """
        ...


class Engine(Protocol):
    """Where work is done; a dataclass that `engine._target_` names, the other keys its fields."""

    elsewhere: ClassVar[bool]
    """Whether workers may be on other machines, also where there is one alone."""

    def crew(self, setup: Setup, workers: int | None, device: str) -> AbstractContextManager[Crew]:
        """Workers for as long as the block lasts.

        Args:
            setup: makes one.
            workers: how many; None means what suits the engine.
            device: the setting of that name: where the workers compute.

        Raises:
            ConfigError: when there cannot be so many.
            EngineError: when there are none.
        """
        ...


class Alone:
    """One worker in this very process."""

    remote = False

    def __init__(self, setup: Setup) -> None:
        self._worker = setup(remote=False)
        self._prepared = False

    def ask(self, question: str, *arguments: Any) -> Any:
        """See `Crew.ask`."""
        return getattr(self._ready(), question)(*arguments)

    def work(self, items: Iterator[Any], count: int) -> Iterator[Outcome]:
        """See `Crew.work`."""
        for item in items:
            if item is None:
                time.sleep(POLL_SECONDS)
            else:
                yield Outcome(item, self._ready()(item))

    def _ready(self) -> Worker:
        if not self._prepared:
            self._worker.prepare()
            self._prepared = True
        return self._worker
