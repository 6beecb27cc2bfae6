"""Hosts that are processes on this machine."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Hashable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from rotationbench.engine.host import Call, Host, Reply, cores

GRACE_SECONDS = 2.0
"""What a process has to end in before it is killed."""


class Processes:
    """Processes, each with a share of the cores and, where there are any, a GPU of its own.

    Args:
        most: how many there can be.
        gpus: what `CUDA_VISIBLE_DEVICES` is for each of them; empty where they compute on the CPU.
    """

    def __init__(self, most: int, gpus: tuple[str, ...] = ()) -> None:
        self.most = most
        self._gpus = list(gpus)
        self._context = multiprocessing.get_context("spawn")
        self._running: dict[Connection, tuple[BaseProcess, str | None]] = {}

    def alive(self) -> list[Hashable]:
        """See `Hosts.alive`."""
        return list(self._running)

    def start(self) -> Hashable:
        """See `Hosts.start`."""
        gpu = self._gpus.pop() if self._gpus else None
        here, there = self._context.Pipe()
        threads = None if gpu is not None else max(1, cores() // self.most)
        process = self._context.Process(target=_serve, args=(there, threads, gpu), daemon=True)
        process.start()
        there.close()
        self._running[here] = (process, gpu)
        return here

    def send(self, host: Hashable, call: Call) -> None:
        """See `Hosts.send`."""
        try:
            host.send(call)  # type: ignore[attr-defined]
        except (BrokenPipeError, ConnectionResetError):
            # It ended; `receive` finds out how.
            return

    def receive(self, seconds: float) -> list[tuple[Hashable, Reply | str]]:
        """See `Hosts.receive`."""
        if not self._running:
            time.sleep(seconds)
            return []
        found: list[tuple[Hashable, Reply | str]] = []
        ready = wait(list(self._running), seconds)
        for host in [host for host in self._running if host in ready]:
            try:
                found.append((host, host.recv()))
            except (EOFError, ConnectionResetError):
                found.append((host, self._ended(host)))
        return found

    def absent(self) -> str | None:
        """See `Hosts.absent`."""
        return None

    def stop(self) -> None:
        """See `Hosts.stop`."""
        hosts = {host: process for host, (process, _) in self._running.items()}
        for host in hosts:
            # Who waits for a call finds that there will be none.
            host.close()
        deadline = time.monotonic() + GRACE_SECONDS
        for host, process in hosts.items():
            process.join(max(0.0, deadline - time.monotonic()))
            process.kill()
            self._ended(host)

    def _ended(self, host: Connection) -> str:
        process, gpu = self._running.pop(host)
        host.close()
        process.join()
        if gpu is not None:
            self._gpus.append(gpu)
        status = process.exitcode or 0
        return signal.Signals(-status).name if status < 0 else f"status {status}"


_kept: dict[tuple[int, tuple[str, ...]], Processes] = {}


def processes(most: int, gpus: tuple[str, ...]) -> Processes:
    """The processes of this run, which keep what they have loaded through all jobs of a sweep."""
    key = (most, gpus)
    if key not in _kept:
        for others in _kept.values():
            others.stop()
        _kept.clear()
        _kept[key] = Processes(*key)
        atexit.register(_kept[key].stop)
    return _kept[key]


def _serve(calls: Connection, threads: int | None, gpu: str | None) -> None:
    """Answer calls until nobody is left who makes any."""
    # Ctrl-C reaches every process of a terminal; the run ends those that work for it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    host = Host(threads)
    while True:
        try:
            call = calls.recv()
        except EOFError:
            return
        except Exception as error:
            # What was sent cannot be read here.
            calls.send(Reply(None, error=error))
            continue
        calls.send(host.answer(call))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
