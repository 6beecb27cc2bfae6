"""The design of a study: who is asked what, in which order, with the edits at which positions.

It is made once from a seed, and balanced: samples are shown equally often, edits stand at each position and before each
other equally often, and samples come early and late equally often, each up to the remainder of a division.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

UNCHANGED, EXACT = -1, -2
"""Options of a check, where others are indices of labels: the untouched picture and the exact result."""
SWEEPS = 4
STRETCHES = 5
"""Parts of a questionnaire within which a sample's place makes no difference."""


@dataclass(frozen=True)
class Design:
    """What a design is made from.

    Args:
        samples: how many samples there are.
        labels: how many labels are compared.
        kind: `"best"`, `"pairs"` or `"rank"`.
        participants: how many questionnaires there are.
        questions: per participant, repeats and checks not counted; at most `len(items(…))`.
        repeats: questions per participant that are asked twice, at most half of them.
        checks: questions per participant with a known answer.
        checkable: indices of the samples with an exact result; without any there are no checks.
        seed: decides everything that is drawn.
    """

    samples: int
    labels: int
    kind: str
    participants: int
    questions: int
    repeats: int = 0
    checks: int = 0
    checkable: Sequence[int] = ()
    seed: int = 0


@dataclass(frozen=True)
class Item:
    """What can be asked: a sample, and indices of the labels whose edits are compared."""

    sample: int
    labels: tuple[int, ...]


@dataclass(frozen=True)
class Asked:
    """A question in its place.

    Args:
        kind: `"vote"`, `"repeat"` or `"check"`.
        sample: index of the sample.
        order: what stands at each position: indices of labels, or `UNCHANGED` and `EXACT`.
        repeats: place in the questionnaire of what is asked again; None unless `kind` is `"repeat"`.
    """

    kind: str
    sample: int
    order: tuple[int, ...]
    repeats: int | None = None


def items(samples: int, labels: int, kind: str) -> list[Item]:
    """Everything that can be asked.

    >>> len(items(10, 4, "best")), len(items(10, 4, "pairs"))
    (10, 60)
    """
    sets = itertools.combinations(range(labels), 2) if kind == "pairs" else [tuple(range(labels))]
    return [Item(sample, chosen) for chosen in sets for sample in range(samples)]


def make_design(design: Design) -> list[list[Asked]]:
    """The questionnaires, one per participant.

    Raises:
        ValueError: when there is less to ask than a participant is asked, or more than half is to be repeated.
    """
    pool = items(design.samples, design.labels, design.kind)
    if not 1 <= design.questions <= len(pool) or design.repeats > design.questions // 2:
        raise ValueError(f"Expected 1 to {len(pool)} questions of which half are repeated at most, got {design}.")
    rng = np.random.default_rng(design.seed)
    choice, orders = _Choice(pool, rng), [_Orders(item, rng) for item in pool]
    checks = _Checks(design.checkable, rng)
    overall = Counter[tuple[int, int]]()
    questionnaires = []
    for _ in range(design.participants):
        chosen = choice.next(design.questions)
        shown = _orders_together([orders[number].open() for number in chosen], overall, rng)
        for number, order in zip(chosen, shown, strict=True):
            orders[number].left.remove(order)
            overall.update(enumerate(order))
        votes = [Asked("vote", pool[number].sample, order) for number, order in zip(chosen, shown, strict=True)]
        again = sorted(rng.permutation(design.questions // 2)[: design.repeats].tolist())
        repeats = [
            (place, Asked("repeat", votes[place].sample, orders[chosen[place]].another(votes[place].order)))
            for place in again
        ]
        checked = [checks.next() for _ in range(design.checks if len(design.checkable) else 0)]
        questionnaires.append(_assembled(votes, repeats, checked, rng))
    return questionnaires


def balanced_orders(count: int) -> list[list[list[int]]]:
    """Latin squares whose rows are orders of `count` things (Williams, 1949).

    In each square, each thing stands once at each position; in all of them together, each stands directly behind each
    other equally often. One square does for an even count, two for an odd one.

    >>> balanced_orders(4)
    [[[0, 3, 1, 2], [1, 0, 2, 3], [2, 1, 3, 0], [3, 2, 0, 1]]]
    """
    first = [(-place // 2 if place % 2 else place // 2) % count for place in range(count)]
    square = [[(thing + row) % count for thing in first] for row in range(count)]
    return [square] if count % 2 == 0 else [square, [row[::-1] for row in square]]


class _Choice:
    """Which items a participant is asked, and in which order: what was rare so far comes first."""

    def __init__(self, pool: Sequence[Item], rng: np.random.Generator) -> None:
        groups = {labels: number for number, labels in enumerate(dict.fromkeys(item.labels for item in pool))}
        self.groups = np.array([groups[item.labels] for item in pool])
        self.samples = np.array([item.sample for item in pool])
        self.asked = np.zeros(len(pool), dtype=int)
        self.placed = np.zeros((len(pool), STRETCHES))
        self.rng = rng

    def next(self, count: int) -> list[int]:
        """Numbers of different items: the least asked of all, and among them the least like each other."""
        groups, samples = np.zeros(self.groups.max() + 1), np.zeros(self.samples.max() + 1)
        left = self.rng.permutation(len(self.asked))
        chosen = []
        for _ in range(count):
            among = left
            for counts in (self.asked, groups[self.groups], samples[self.samples]):
                among = among[counts[among] == counts[among].min()]
            number = int(among[0])
            left = left[left != number]
            groups[self.groups[number]] += 1
            samples[self.samples[number]] += 1
            chosen.append(number)
        self.asked[chosen] += 1
        return self._in_places(np.array(chosen))

    def _in_places(self, chosen: np.ndarray) -> list[int]:
        """The items in an order in which each comes where it has been least so far."""
        stretches = np.arange(len(chosen)) * STRETCHES // len(chosen)
        costs = self.placed[chosen][:, stretches] + 1e-3 * self.rng.random((len(chosen), len(chosen)))
        rows, places = linear_sum_assignment(costs)
        ordered = chosen[rows[np.argsort(places)]]
        self.placed[ordered, stretches] += 1
        return ordered.tolist()


class _Orders:
    """Orders of an item's edits: block by block, in each of which every edit stands once at each position."""

    def __init__(self, item: Item, rng: np.random.Generator) -> None:
        names = rng.permutation(item.labels).tolist()
        squares = [[tuple(names[thing] for thing in row) for row in square] for square in balanced_orders(len(names))]
        if rng.integers(2):
            squares.reverse()
        self.all = [row for square in squares for row in square]
        self.squares = itertools.cycle(squares)
        self.left: list[tuple[int, ...]] = []
        self.rng = rng

    def open(self) -> list[tuple[int, ...]]:
        """The orders that may be next."""
        self.left = self.left or list(next(self.squares))
        return self.left

    def another(self, order: tuple[int, ...]) -> tuple[int, ...]:
        """Any of the orders but `order`."""
        others = [row for row in self.all if row != order]
        return others[self.rng.integers(len(others))]


def _orders_together(
    open_orders: Sequence[Sequence[tuple[int, ...]]], overall: Counter[tuple[int, int]], rng: np.random.Generator
) -> list[tuple[int, ...]]:
    """One order per question, so that a participant meets each edit equally often at each position.

    By coordinate descent from a random start: each question in turn takes the order whose cells are rarest, first in
    the participant's own questionnaire, then in all before it.
    """
    chosen = [orders[int(rng.integers(len(orders)))] for orders in open_orders]
    own = Counter(cell for order in chosen for cell in enumerate(order))

    def frequency(order: tuple[int, ...]) -> tuple[int, int]:
        cells = list(enumerate(order))
        return sum(own[cell] for cell in cells), sum(overall[cell] for cell in cells)

    for _ in range(SWEEPS):
        for number, orders in enumerate(open_orders):
            own.subtract(enumerate(chosen[number]))
            chosen[number] = min(orders, key=frequency)
            own.update(enumerate(chosen[number]))
    return chosen


class _Checks:
    """Checks on each sample in turn, the right answer once at each position."""

    def __init__(self, samples: Sequence[int], rng: np.random.Generator) -> None:
        self.samples = itertools.cycle(rng.permutation(np.asarray(samples, dtype=int)).tolist())
        self.rng = rng
        self.left: list[tuple[int, int]] = []

    def next(self) -> Asked:
        self.left = self.left or [(UNCHANGED, EXACT), (EXACT, UNCHANGED)]
        return Asked("check", next(self.samples), self.left.pop(self.rng.integers(len(self.left))))


def _assembled(
    votes: Sequence[Asked],
    repeats: Sequence[tuple[int, Asked]],
    checks: Sequence[Asked],
    rng: np.random.Generator,
) -> list[Asked]:
    """Votes with repeats among the last third and checks spread over all but the first place."""
    # Until all are in their places, a repeat is known by the vote's number, and so is each vote.
    sequence: list[tuple[int | None, Asked]] = list(enumerate(votes))
    start = math.ceil(2 / 3 * len(votes))
    for place, question in repeats:
        sequence.insert(int(rng.integers(start, len(sequence) + 1)), (place, question))
    edges = np.linspace(1, len(sequence) + 1, len(checks) + 1).astype(int)
    for number, question in reversed(list(enumerate(checks))):
        low, high = edges[number], max(edges[number] + 1, edges[number + 1])
        sequence.insert(int(rng.integers(low, high)), (None, question))
    first = {number: place for place, (number, question) in enumerate(sequence) if question.kind == "vote"}
    return [
        Asked(question.kind, question.sample, question.order, first[number] if question.kind == "repeat" else None)
        for number, question in sequence
    ]
