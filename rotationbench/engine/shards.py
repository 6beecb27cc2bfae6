"""A fixed part of the work for each of several runs that know nothing of each other, and the order of work."""

from __future__ import annotations

import heapq
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rotationbench.errors import ConfigError


@dataclass(frozen=True)
class Shard:
    """One of `count` parts of the work.

    Args:
        index: which, counted from 1.
        count: how many there are.
    """

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """The shard behind a setting such as `"2/8"`.

        Raises:
            ConfigError: when it is no such text, or the part is not one of the parts.

        >>> Shard.parse("2/8")
        Shard(index=2, count=8)
        """
        found = re.fullmatch(r"\s*([0-9]{1,9})\s*/\s*([0-9]{1,9})\s*", text)
        if found is None:
            raise ConfigError(f"shard: expected i/n, such as 1/8, got {text!r:.40}.")
        shard = cls(int(found[1]), int(found[2]))
        if not 1 <= shard.index <= shard.count:
            raise ConfigError(f"shard: expected i/n with i from 1 to n, got {text}.")
        return shard

    def of(self, costs: Mapping[str, float]) -> list[str]:
        """The names of this shard, in the order of `costs`: all shards together have each name once.

        Names go one by one, the most expensive first, to the shard that has least to do so far (Graham's rule, SIAM J.
        Appl. Math. 17, 1969: no shard takes more than 4/3 of the best time possible). Every run finds the same.

        Args:
            costs: what each name is expected to cost, in any unit.

        >>> Shard(1, 2).of({"a": 1.0, "b": 3.0, "c": 1.0})
        ['b']
        >>> Shard(2, 2).of({"a": 1.0, "b": 3.0, "c": 1.0})
        ['a', 'c']
        """
        loads = [(0.0, 0, index) for index in range(1, self.count + 1)]
        mine = set()
        for name in long_first(costs, costs):
            load, held, index = heapq.heappop(loads)
            heapq.heappush(loads, (load + costs[name], held + 1, index))
            if index == self.index:
                mine.add(name)
        return [name for name in costs if name in mine]


def long_first(names: Iterable[str], costs: Mapping[str, float]) -> list[str]:
    """Names by falling cost, so that no long one is left for the end; those without a cost come last, as they were.

    >>> long_first(["a", "b", "c"], {"a": 1.0, "c": 2.0})
    ['c', 'a', 'b']
    """
    return sorted(names, key=lambda name: (-costs[name], name) if name in costs else (math.inf, ""))


def as_they_come(names: Sequence[str]) -> dict[str, float]:
    """Costs that are all the same."""
    return dict.fromkeys(names, 1.0)
