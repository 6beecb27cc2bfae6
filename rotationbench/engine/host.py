"""The side of a worker: a process that makes one, does as it is told, and replies with what came of it."""

from __future__ import annotations

import itertools
import logging
import logging.handlers
import os
import pickle
import sys
import threading
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from rotationbench.engine.base import Setup, Worker

_numbers = itertools.count()


@dataclass(frozen=True)
class Call:
    """What a worker is told: to be made (`setup`), or to answer the question `name`; `__call__` is an item.

    Args:
        name: which.
        arguments: with what.
        levels: of loggers, when a worker is made.
        number: its own, by which its reply is known.
    """

    name: str
    arguments: tuple[Any, ...] = ()
    levels: Mapping[str, int] = field(default_factory=dict)
    number: int = field(default_factory=lambda: next(_numbers))


@dataclass(frozen=True)
class Reply:
    """What came of a call.

    Args:
        number: of the call; None where it is not known.
        value: what was returned.
        error: what was raised; None when nothing was.
        said: what was logged, in order.
    """

    number: int | None
    value: Any = None
    error: Exception | None = None
    said: list[logging.LogRecord] = field(default_factory=list)


class Host:
    """Keeps a worker; what a process has loaded stays loaded when another worker takes its place.

    Args:
        threads: how many its computations may use; None leaves that as it is.
    """

    def __init__(self, threads: int | None) -> None:
        self._threads = threads
        self._worker: Worker | None = None
        self._ear = _Ear()

    def answer(self, call: Call) -> Reply:
        """Do as `call` says; nothing but the end of the process keeps it from replying."""
        try:
            value, error = self._answer(call), None
        except Exception as caught:
            value, error = None, _travelling(caught)
        return Reply(call.number, value, error, self._ear.heard())

    def _answer(self, call: Call) -> Any:
        if call.name != "setup":
            return getattr(self._worker, call.name)(*call.arguments)
        self._ear.listen(call.levels)
        if self._threads is not None:
            use_threads(self._threads)
        (setup,) = call.arguments
        self._worker = None
        worker = make_worker(setup)
        kind = worker.prepare()
        self._worker = worker
        return kind


def _travelling(error: Exception) -> Exception:
    """An error with its traceback as text, because the traceback itself cannot travel; nor can every error."""
    text = "".join(traceback.format_exception(error))
    error.add_note(text)
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(text)
    return error


def make_worker(setup: Setup) -> Worker:
    """A worker in a process of its own, whose progress bars are not shown: there is one for all."""
    # The one that tqdm would make itself is shared between processes, and left behind by those that are killed.
    tqdm.set_lock(threading.RLock())
    if not isinstance(sys.stderr, NoTerminal):
        sys.stdout, sys.stderr = NoTerminal(sys.stdout), NoTerminal(sys.stderr)
    return setup(remote=True)


def use_threads(count: int) -> None:
    """Let this process compute with at most `count` threads."""
    import cv2  # noqa: PLC0415 - takes seconds, and is needed where there is a worker alone
    import torch  # noqa: PLC0415

    torch.set_num_threads(min(count, torch.get_num_threads()))
    cv2.setNumThreads(count)


class NoTerminal:
    """A stream that says that it is no terminal, to which progress bars are not drawn."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def isatty(self) -> bool:
        """Whether it is one."""
        return False


class _Ear(logging.handlers.QueueHandler):
    """Hears what is logged, in a form that can travel."""

    def __init__(self) -> None:
        super().__init__([])  # type: ignore[arg-type]

    def listen(self, levels: Mapping[str, int]) -> None:
        """Take the place of all other handlers, with the levels of loggers by name."""
        logging.getLogger().handlers = [self]
        for name, level in levels.items():
            logging.getLogger(name or None).setLevel(level)

    def enqueue(self, record: logging.LogRecord) -> None:
        """Keep what was said."""
        self.queue.append(record)  # type: ignore[attr-defined]

    def heard(self) -> list[logging.LogRecord]:
        """What was said since the last time."""
        said = list(self.queue)  # type: ignore[call-overload]
        self.queue.clear()  # type: ignore[attr-defined]
        return said


def levels_here() -> dict[str, int]:
    """The levels that were given to loggers in this process."""
    loggers = {"": logging.getLogger(), **logging.root.manager.loggerDict}
    return {
        name: logger.level for name, logger in loggers.items() if isinstance(logger, logging.Logger) and logger.level
    }


def said_here(records: list[logging.LogRecord]) -> None:
    """Log here what was said elsewhere."""
    for record in records:
        logging.getLogger(record.name).handle(record)


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
