"""Edits that wait, are being made, and were made: a queue with one worker, and what a page is told of it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rotationbench.errors import EditCancelledError, RotationBenchError
from rotationbench.method import DragMethod
from rotationbench.sample import DragSample

log = logging.getLogger(__name__)

WAITING, RUNNING, DONE, FAILED, CANCELLED = "waiting", "running", "done", "failed", "cancelled"
MOST_KEPT = 200
"""Edits that are over and still listed."""


class QueueFullError(RotationBenchError):
    """As many edits wait as may."""


@dataclass(eq=False)
class Job:
    """One edit that was asked for. What changes is changed by `Board` alone, or under its lock.

    Args:
        number: counts up from 1.
        sample: at its own size.
        method_name: what `method=` calls the method.
        method: the method.
        config: its settings, for the record.
        seed: decides everything random.
        expected: by phase, how many evaluations of the UNet it is expected to take, where that is known.
    """

    number: int
    sample: DragSample
    method_name: str
    method: DragMethod
    config: dict[str, Any]
    seed: int
    expected: dict[str, int]
    state: str = WAITING
    cancelling: bool = False
    phase: str | None = None
    evaluations: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    step: int = 0
    limit: int = 0
    distances: list[float] = field(default_factory=list)
    path: list[list[list[float]]] = field(default_factory=list)
    message: str | None = None
    result: dict[str, Any] | None = None
    version: int = 0

    @property
    def over(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in (DONE, FAILED, CANCELLED)


class Board:
    """All jobs, and the thread that makes them one by one.

    Pages ask what has changed since a version they name, so that a slow one is told less often and never less.

    Args:
        make: makes the edit of a job; it tells what it does to the observer that it is given, and returns what the page
            is to know of the result.
        most_waiting: jobs that wait at a time.
    """

    def __init__(self, make: Callable[[Job, JobObserver], dict[str, Any]], most_waiting: int) -> None:
        self._make, self._most_waiting = make, most_waiting
        self.lock = threading.Lock()
        self._something_to_do = threading.Condition(self.lock)
        self._jobs: dict[int, Job] = {}
        self._version = self._number = 0
        self._closed = False
        self._worker = threading.Thread(target=self._work, name="studio edits", daemon=True)

    def start(self) -> None:
        """Begin to make edits."""
        self._worker.start()

    def close(self) -> None:
        """Cancel everything, and wait a moment for what is being made."""
        with self.lock:
            self._closed = True
            for job in self._jobs.values():
                job.cancelling = True
            self._something_to_do.notify_all()
        if self._worker.is_alive():
            self._worker.join(timeout=5)

    def submit(
        self,
        sample: DragSample,
        method_name: str,
        method: DragMethod,
        config: dict[str, Any],
        seed: int,
        expected: dict[str, int],
    ) -> dict[str, Any]:
        """Queue an edit; see `Job` for the arguments.

        Returns:
            What a page is told of it.

        Raises:
            QueueFullError: when as many wait as may.
        """
        with self.lock:
            waiting = sum(job.state == WAITING for job in self._jobs.values())
            if waiting >= self._most_waiting or self._closed:
                raise QueueFullError(f"the queue: expected at most {self._most_waiting} waiting edits, got another.")
            self._number += 1
            job = Job(self._number, sample, method_name, method, config, seed, expected)
            self._jobs[job.number] = job
            over = [number for number, other in self._jobs.items() if other.over]
            for number in over[: max(0, len(over) - MOST_KEPT)]:
                del self._jobs[number]
            self.changed(job)
            self._something_to_do.notify_all()
            return self._told(job, 0)

    def cancel(self, number: int) -> dict[str, Any] | None:
        """End a job: one that waits at once, one that is being made before its next evaluation of the UNet.

        Returns:
            What a page is told of it; None when there is no such job.
        """
        with self.lock:
            job = self._jobs.get(number)
            if job is None:
                return None
            if job.state == WAITING:
                self._end(job, CANCELLED)
            elif job.state == RUNNING:
                job.cancelling = True
                self.changed(job)
            return self._told(job, 0)

    def changes(self, since: int = 0, steps_seen: dict[int, int] | None = None) -> tuple[int, list[dict[str, Any]]]:
        """What changed after version `since`, and the version that it is at.

        Args:
            since: 0 tells everything.
            steps_seen: by job, how many steps of its path are known already; it is brought up to date.
        """
        with self.lock:
            if self._version == since:
                return since, []
            told = []
            for job in self._jobs.values():
                if job.version > since:
                    seen = 0 if steps_seen is None else steps_seen.get(job.number, 0)
                    told.append(self._told(job, seen))
                    if steps_seen is not None:
                        steps_seen[job.number] = len(job.path)
            return self._version, told

    def _told(self, job: Job, steps_seen: int) -> dict[str, Any]:
        position = [other.number for other in self._jobs.values() if other.state == WAITING]
        return {
            "number": job.number,
            "state": job.state,
            "cancelling": job.cancelling and not job.over,
            "position": position.index(job.number) + 1 if job.state == WAITING else 0,
            "sample": job.sample.name,
            "digest": job.sample.digest,
            "method": job.method_name,
            "seed": job.seed,
            "phase": job.phase,
            "evaluations": dict(job.evaluations),
            "expected": job.expected,
            "seconds": {name: round(value, 2) for name, value in job.seconds.items()},
            "step": job.step,
            "limit": job.limit,
            "distances": job.distances[steps_seen:],
            "path": job.path[steps_seen:],
            "from_step": steps_seen,
            "message": job.message,
            "result": job.result,
        }

    def changed(self, job: Job) -> None:
        """Let pages be told of a job; the lock is held."""
        self._version += 1
        job.version = self._version

    def _end(self, job: Job, state: str, message: str | None = None) -> None:
        job.state, job.message, job.phase = state, message, None
        self.changed(job)
        for other in self._jobs.values():
            if other.state == WAITING:
                # Its place in the queue is another one.
                self.changed(other)

    def _work(self) -> None:
        while True:
            with self.lock:
                self._something_to_do.wait_for(lambda: self._closed or self._next() is not None)
                job = self._next()
                if self._closed or job is None:
                    return
                job.state = RUNNING
                for other in self._jobs.values():
                    if not other.over:
                        self.changed(other)
            try:
                result = self._make(job, JobObserver(self, job))
            except EditCancelledError:
                self._finish(job, CANCELLED)
            except RotationBenchError as error:
                self._finish(job, FAILED, " ".join(str(error).split()))
            except Exception as error:
                # Whatever it is, one edit must not end the studio.
                log.exception("edit %d failed", job.number)
                self._finish(job, FAILED, f"{type(error).__name__}: {error}"[:500])
            else:
                with self.lock:
                    job.result = result
                    self._end(job, DONE)

    def _finish(self, job: Job, state: str, message: str | None = None) -> None:
        with self.lock:
            self._end(job, state, message)

    def _next(self) -> Job | None:
        return next((job for job in self._jobs.values() if job.state == WAITING), None)


class JobObserver:
    """Notes on the board how an edit goes, and ends it when that was asked for; see `rotationbench.observing`.

    Args:
        board: the board.
        job: the job that the edit is made for.
    """

    def __init__(self, board: Board, job: Job) -> None:
        self._board, self._job = board, job
        self._since = time.perf_counter()

    def computing(self, phase: str, evaluations: int) -> None:
        """See `Observer.computing`."""
        job = self._job
        with self._board.lock:
            now = time.perf_counter()
            if job.phase is not None:
                job.seconds[job.phase] = job.seconds.get(job.phase, 0.0) + now - self._since
            self._since, job.phase = now, phase
            job.evaluations[phase] = max(evaluations, job.evaluations.get(phase, 0))
            self._board.changed(job)
            if job.cancelling:
                raise EditCancelledError("the edit was cancelled.")

    def stepped(self, step: int, limit: int, distance: float, handles: np.ndarray | None) -> None:
        """See `Observer.stepped`."""
        job = self._job
        with self._board.lock:
            job.step, job.limit = step, limit
            job.distances.append(round(distance, 2))
            job.path.append([] if handles is None else handles.round(2).tolist())
            self._board.changed(job)
            if job.cancelling:
                raise EditCancelledError("the edit was cancelled.")

    def tell_result(self, result: dict[str, Any]) -> None:
        """Let the page show an edit that is still being measured."""
        with self._board.lock:
            self._job.result = result
            self._board.changed(self._job)
