"""`engine=ray`: the workers are actors of a Ray cluster; they share no file system with the run, which alone writes."""

from __future__ import annotations

import atexit
import logging
import math
import os
import re
import socket
import sys
import time
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from rotationbench.engine.base import Crew, Setup
from rotationbench.engine.host import Call, Host, Reply, cores
from rotationbench.engine.spread import Spread
from rotationbench.errors import ConfigError, EngineError

HERE = "127.0.0.1"
"""A cluster that is started for a run is reached from this machine alone."""
KNOCK = 15.0
"""Seconds in which a cluster must take a connection."""
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class OnRay:
    """Actors on a Ray cluster, each with a worker.

    Args:
        address: `"auto"` for the cluster of this machine, `"ray://host:10001"` or `"host:6379"` for another one; None
            starts one on this machine for as long as the run lasts.
        resources: what each actor holds, such as `{"GPU": 0.5}`; None means a GPU where the cluster has any. It holds
            one core, or as many as `CPU` says.
        patience: seconds for which it is waited for a first actor, and for another one when none is left.

    Raises:
        ConfigError: when a value cannot be used.
    """

    elsewhere: ClassVar[bool] = True

    address: str | None = None
    resources: dict[str, float] | None = None
    patience: float = 300.0

    def __post_init__(self) -> None:
        for name, amount in (self.resources or {}).items():
            if not 0 <= amount <= 1e6 or (amount > 1 and amount != int(amount)):
                raise ConfigError(
                    f"engine.resources.{name}: expected a whole number, or one from 0 to 1, got {amount}."
                )
        if self.patience <= 0:
            raise ConfigError(f"engine.patience: expected a positive number of seconds, got {self.patience}.")

    @contextmanager
    def crew(self, setup: Setup, workers: int | None, device: str) -> Iterator[Crew]:
        """See `Engine.crew`; without `workers` it is as many as there is room for.

        Raises:
            ConfigError: when the cluster cannot be reached.
            EngineError: when no actor finds a place, or none is left.
        """
        hosts = actors(self, workers, device)
        try:
            yield Spread(hosts, setup)
        except BaseException:
            hosts.stop()
            raise


class Actors:
    """Actors of a cluster that has been reached.

    Args:
        most: how many there can be; None means as many as there is room for.
        resources: what each holds.
        patience: seconds for which it is waited for the first, and for another when none is left.
    """

    def __init__(self, most: int | None, resources: Mapping[str, float], patience: float) -> None:
        import ray  # noqa: PLC0415 - an extra

        self._ray = ray
        self._resources, self._patience = dict(resources), patience
        self.most = most or max(1, room(ray.nodes(), resources))
        self._actors: dict[int, Any] = {}
        self._placed: set[int] = set()
        self._calls: dict[Any, int] = {}
        self._greetings: dict[Any, int] = {}
        self._count = 0
        self._since = time.monotonic()
        custom = {name: amount for name, amount in resources.items() if name not in ("CPU", "GPU", "memory")}
        self._actor: Any = ray.remote(_Actor).options(
            num_cpus=resources.get("CPU", 1),
            num_gpus=resources.get("GPU", 0),
            memory=resources.get("memory"),
            resources=custom,
            # Another one is started by hand, and what was in flight is put to it.
            max_restarts=0,
        )

    def alive(self) -> list[Hashable]:
        """See `Hosts.alive`."""
        return list(self._actors)

    def start(self) -> Hashable:
        """See `Hosts.start`."""
        self._count += 1
        actor = self._actor.remote(max(1, int(self._resources.get("CPU", 1))))
        self._actors[self._count] = actor
        self._greetings[actor.greet.remote()] = self._count
        return self._count

    def send(self, host: Hashable, call: Call) -> None:
        """See `Hosts.send`."""
        key = cast(int, host)
        self._calls[self._actors[key].answer.remote(call)] = key

    def receive(self, seconds: float) -> list[tuple[Hashable, Reply | str]]:
        """See `Hosts.receive`."""
        pending = [*self._greetings, *self._calls]
        if not pending:
            time.sleep(seconds)
            return []
        ready, _ = self._ray.wait(pending, num_returns=1, timeout=seconds)
        found: list[tuple[Hashable, Reply | str]] = []
        for reference in ready:
            host = self._greetings.pop(reference, None) or self._calls.pop(reference)
            try:
                answer = self._ray.get(reference)
            except (self._ray.exceptions.RayActorError, self._ray.exceptions.ObjectLostError) as error:
                found += self._ended(host, error)
                continue
            except self._ray.exceptions.RayError as error:
                answer = Reply(None, error=EngineError(f"engine: {_one_line(error)}"))
            self._placed.add(host)
            if answer is not None:
                found.append((host, answer))
        return found

    def absent(self) -> str | None:
        """See `Hosts.absent`."""
        if self._placed or not self._actors:
            self._since = time.monotonic()
        if time.monotonic() - self._since < self._patience:
            return None
        wanted = {"CPU": 1.0, **self._resources}
        offered = [_shown(node["Resources"]) for node in self._ray.nodes() if node["Alive"]]
        return (
            f"engine.resources: expected a node with room for {_shown(wanted)} within {self._patience:g} s, got "
            f"{'; '.join(offered) or 'no node'}."
        )

    def stop(self) -> None:
        """See `Hosts.stop`."""
        for actor in self._actors.values():
            self._ray.kill(actor)
        for kept in (self._actors, self._placed, self._calls, self._greetings):
            kept.clear()

    def _ended(self, host: int, error: Exception) -> list[tuple[Hashable, Reply | str]]:
        """That an actor ended, unless that is known; nothing of it is waited for any more."""
        actor = self._actors.pop(host, None)
        if actor is None:
            return []
        # It may only be out of reach: what was in flight must not be done twice.
        self._ray.kill(actor)
        self._placed.discard(host)
        for waited_for in (self._calls, self._greetings):
            for reference in [reference for reference, of in waited_for.items() if of == host]:
                del waited_for[reference]
        return [(host, _one_line(error))]


class _Actor:
    """A host that is an actor."""

    def __init__(self, threads: int) -> None:
        self._host = Host(threads)

    def greet(self) -> None:
        """Nothing but a sign of having a place."""

    def answer(self, call: Call) -> Reply:
        """See `Host.answer`."""
        return self._host.answer(call)


_kept: dict[tuple[Any, ...], Actors] = {}


def actors(engine: OnRay, workers: int | None, device: str) -> Actors:
    """The actors of this run, which keep what they have loaded through all jobs of a sweep.

    Raises:
        ConfigError: when the cluster cannot be reached.
    """
    key = (engine.address, tuple(sorted((engine.resources or {}).items())), workers, device)
    if key not in _kept:
        for others in _kept.values():
            others.stop()
        _kept.clear()
        ray = connected(engine.address, workers or cores())
        resources = engine.resources
        if resources is None:
            resources = {"GPU": 1.0} if device != "cpu" and ray.cluster_resources().get("GPU") else {}
        _kept[key] = Actors(workers, resources, engine.patience)
    return _kept[key]


def disconnect() -> None:
    """End the actors of this run, and a cluster that was started for it."""
    for kept in _kept.values():
        kept.stop()
    _kept.clear()
    if "ray" in sys.modules:
        sys.modules["ray"].shutdown()


def connected(address: str | None, workers: int) -> Any:
    """Ray, connected with a cluster.

    Args:
        address: see `OnRay`.
        workers: how many actors with one core each a cluster must have room for that is started here.

    Raises:
        ConfigError: when Ray is not installed, or the cluster cannot be reached.
    """
    if address is None and "ray" not in sys.modules:
        # Who may use the machine may not use the cluster: it asks for the token that Ray makes for the user. Ray reads
        # this when it is imported.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        # Ray takes 127.0.0.1 for the address that others reach the machine at, unless no others are to be expected.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    if address is None:
        # What can be imported here can be imported there.
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    # A cluster without GPUs hides none of them from what runs beside it.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigError("engine: expected Ray to be installed: pip install 'rotationbench[cluster]'.") from error
    if ray.is_initialized():
        return ray
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address is None:
            # Not one that runs on this machine already, which no address at all would mean.
            here: dict[str, Any] = {"include_dashboard": False, "_node_ip_address": HERE}
            ray.init(address="local", num_cpus=max(workers, cores()), **here, **quiet)
        else:
            _knock(address)
            ray.init(address=address, **quiet)
    except Exception as error:
        # Ray has many errors for this, some of them the system's.
        place = "a cluster to be started here" if address is None else f"a Ray cluster at {address}"
        raise ConfigError(f"engine.address: expected {place}, got: {_one_line(error)}") from error
    atexit.register(disconnect)
    return ray


def _knock(address: str) -> None:
    """See that somebody listens at `host:port`: Ray would try for minutes.

    Raises:
        OSError: when nobody does.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK).close()


def room(nodes: list[dict[str, Any]], resources: Mapping[str, float]) -> int:
    """How many actors the living nodes have room for.

    Args:
        nodes: as Ray describes them.
        resources: what each actor holds; one core where it does not say.

    >>> nodes = [{"Alive": True, "Resources": {"CPU": 8, "GPU": 2}}, {"Alive": True, "Resources": {"CPU": 3}}]
    >>> room(nodes, {"GPU": 0.5}), room(nodes, {})
    (4, 11)
    """
    wanted = {name: amount for name, amount in {"CPU": 1.0, **resources}.items() if amount > 0}
    living = [node["Resources"] for node in nodes if node["Alive"]]
    return sum(min(math.floor(node.get(name, 0) / amount) for name, amount in wanted.items()) for node in living)


def _shown(resources: Mapping[str, float]) -> str:
    shown = {name: amount for name, amount in resources.items() if name in ("CPU", "GPU") or ":" not in name}
    shown = {name: amount for name, amount in shown.items() if name not in ("memory", "object_store_memory")}
    return ", ".join(f"{name}: {amount:g}" for name, amount in sorted(shown.items())) or "nothing"


def _one_line(error: Exception) -> str:
    text = COLOUR.sub("", str(error))
    return " ".join(text.split())[:300] or type(error).__name__
