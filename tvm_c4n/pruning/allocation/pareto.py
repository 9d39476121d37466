"""Which choice for which weight: the exact Pareto front of loss against cost. Pure numpy.

Every weight has a few options, each with a cost (bytes, weights kept, seconds) and a loss (nats);
costs and losses add up. The front is built weight by weight: all sums of a front with a weight's
options, of which those stay that no other one beats in both (Nemhauser and Ullmann, 1969). Nothing
is rounded, so that the front is exact while it has at most `MAX_FRONT_POINTS` points. A longer one
is thinned, and how far its points may then be from the exact ones is added up in `Front.gap`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.pruning.recipe import Choice

MAX_FRONT_POINTS = 200_000


class Option(NamedTuple):
    """One way to store a weight: what it costs and what is lost."""

    choice: Choice
    cost: float
    loss: float


Items = Mapping[str, Sequence[Option]]


class Allocation(NamedTuple):
    """A choice for every weight.

    Attributes
    ----------
    choices : dict of tensor name to Choice
    cost, loss : float
        Sums over all weights.
    """

    choices: dict[str, Choice]
    cost: float
    loss: float


@dataclass(frozen=True)
class Front:
    """All allocations that no other one beats, by ascending cost and descending loss.

    Attributes
    ----------
    cost, loss : (points,) float64
    gap : float
        No allocation has a loss that is lower by more than this than that of the point of at most
        its cost; 0 for an exact front.
    """

    cost: NDArray[np.float64]
    loss: NDArray[np.float64]
    gap: float
    _items: Items
    _steps: tuple[tuple[NDArray[np.int32], NDArray[np.int32]], ...]

    def at(self, point: int) -> Allocation:
        """Return the allocation of a point."""
        place = int(point)
        choices: dict[str, Choice] = {}
        for (name, options), (parent, option) in zip(
            reversed(list(self._items.items())), reversed(self._steps), strict=True
        ):
            choices[name] = options[option[place]].choice
            place = int(parent[place])
        ordered = {name: choices[name] for name in self._items}
        return Allocation(ordered, float(self.cost[point]), float(self.loss[point]))

    def within_cost(self, limit: float) -> Allocation | None:
        """Return the least loss that costs at most ``limit``; None if nothing is that cheap."""
        # Sums of the same numbers in another order differ in the last digits.
        point = int(np.searchsorted(self.cost, limit * (1 + 1e-12), side="right")) - 1
        return self.at(point) if point >= 0 else None

    def within_loss(self, most: float) -> Allocation:
        """Return the cheapest of at most the given loss, or the one of least loss."""
        fits = np.flatnonzero(self.loss <= most)
        return self.at(int(fits[0]) if len(fits) else len(self.loss) - 1)


def pareto_front(items: Items, most: int = MAX_FRONT_POINTS) -> Front:
    """Build the front of all allocations.

    Parameters
    ----------
    items : mapping of tensor name to options
        At least one option each.
    most : int
        Points to keep between two weights.
    """
    cost, loss, gap = np.zeros(1), np.zeros(1), 0.0
    steps = []
    for options in items.values():
        costs = np.array([option.cost for option in options])
        losses = np.array([option.loss for option in options])
        all_costs = (cost[:, None] + costs).ravel()
        all_losses = (loss[:, None] + losses).ravel()
        kept = _undominated(all_costs, all_losses)
        if len(kept) > most:
            kept, missed = _thinned(kept, all_losses, most)
            gap += missed
        cost, loss = all_costs[kept], all_losses[kept]
        parent, option = np.divmod(kept, len(options))
        steps.append((parent.astype(np.int32), option.astype(np.int32)))
    return Front(cost, loss, gap, dict(items), tuple(steps))


def _undominated(cost: NDArray[np.float64], loss: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the indices of the points that no other one beats, by ascending cost."""
    order = np.lexsort((loss, cost))
    best = np.minimum.accumulate(loss[order])
    first = np.ones(len(order), dtype=bool)
    first[1:] = best[1:] < best[:-1]
    return order[first]


def _thinned(
    kept: NDArray[np.int64], loss: NDArray[np.float64], most: int
) -> tuple[NDArray[np.int64], float]:
    """Keep the cheapest point of each of ``most`` steps of loss; returns how high a step is."""
    losses = loss[kept]  # descending
    height = float(losses[0] - losses[-1]) / most
    step = np.floor((losses - losses[-1]) / height).astype(np.int64)
    first = np.ones(len(kept), dtype=bool)
    first[1:] = step[1:] < step[:-1]
    first[-1] = True  # the least loss of all
    return kept[first], height


def greedy(items: Items, limit: float) -> Allocation | None:
    """Take, again and again, the change that loses least per cost saved, until it fits.

    The usual way to allocate sparsity, here as a baseline.
    """
    chosen = {name: min(options, key=lambda o: (o.loss, o.cost)) for name, options in items.items()}
    while sum(option.cost for option in chosen.values()) > limit * (1 + 1e-12):
        changes = [
            ((option.loss - now.loss) / (now.cost - option.cost), name, option)
            for name, now in chosen.items()
            for option in items[name]
            if option.cost < now.cost
        ]
        if not changes:
            return None
        _, name, option = min(changes, key=lambda change: change[:2])
        chosen[name] = option
    return _allocation(chosen)


def uniform(items: Items, limit: float) -> Allocation | None:
    """Take the same choice for all weights that have it, and the least lossy of such allocations.

    A weight without that choice takes its least lossy option of at most as many removed weights.
    """
    found = []
    choices = {option.choice for options in items.values() for option in options}
    for choice in sorted(choice for choice in choices if not choice.each):
        chosen = {}
        for name, options in items.items():
            same = [option for option in options if option.choice == choice]
            alike = [option for option in options if not option.choice.each]
            fewer = [option for option in alike if option.choice.removed <= choice.removed]
            chosen[name] = same[0] if same else min(fewer, key=lambda option: option.loss)
        allocation = _allocation(chosen)
        if allocation.cost <= limit * (1 + 1e-12):
            found.append(allocation)
    return min(found, key=lambda allocation: allocation.loss, default=None)


def _allocation(chosen: Mapping[str, Option]) -> Allocation:
    return Allocation(
        {name: option.choice for name, option in chosen.items()},
        float(sum(option.cost for option in chosen.values())),
        float(sum(option.loss for option in chosen.values())),
    )
