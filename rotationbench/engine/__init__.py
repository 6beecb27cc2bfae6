"""Where the work of a run is done: in this process, in several, or on a cluster, behind one interface."""

from rotationbench.engine.base import Crew, Engine, Outcome, Setup, Worker
from rotationbench.engine.shards import Shard, long_first

__all__ = ["Crew", "Engine", "Outcome", "Setup", "Shard", "Worker", "long_first"]
