from __future__ import annotations

import numpy as np
import pytest

from rotationbench.engine import Shard, long_first
from rotationbench.errors import ConfigError


@pytest.mark.parametrize("text", ["0/2", "3/2", "1/0", "1", "1/2/3", "-1/2", "a/b", "", "1.5/2", "1/99999999999"])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(ConfigError, match="shard: expected i/n"):
        Shard.parse(text)


@pytest.mark.parametrize("count", [1, 2, 7, 64])
def test_shards_are_disjoint_complete_balanced_and_the_same_each_time(count):
    rng = np.random.default_rng(count)
    costs = {f"s{number}": float(cost) for number, cost in enumerate(rng.lognormal(0, 1, 500))}
    shards = [Shard(index, count).of(costs) for index in range(1, count + 1)]
    assert sorted(name for shard in shards for name in shard) == sorted(costs)
    loads = [sum(costs[name] for name in shard) for shard in shards]
    # Graham's bound, with the better of two bounds on the best time in the place of that time.
    best = max(sum(costs.values()) / count, *costs.values())
    assert max(loads) <= 4 / 3 * best
    shuffled = {name: costs[name] for name in rng.permutation(list(costs)).tolist()}
    assert [sorted(Shard(index, count).of(shuffled)) for index in range(1, count + 1)] == list(map(sorted, shards))


def test_more_shards_than_samples_leave_some_empty():
    shards = [Shard(index, 4).of({"a": 1.0, "b": 1.0}) for index in range(1, 5)]
    assert sorted(map(len, shards)) == [0, 0, 1, 1]


def test_the_long_come_first_and_the_unknown_last():
    assert long_first(["x", "a", "y", "b"], {"a": 1.0, "b": 2.0}) == ["b", "a", "x", "y"]
