"""The front is that of all combinations; the baselines never beat it; its gap is what it says."""

from itertools import product

import numpy as np
import pytest

from tvm_c4n.pruning.allocation.pareto import Option, greedy, pareto_front, uniform
from tvm_c4n.pruning.recipe import Choice

CHOICES = [Choice(n, dtype) for n in range(4) for dtype in ("int8", "int4")]


def make_items(seed, weights=5, options=4):
    rng = np.random.default_rng(seed)
    return {
        f"w{i}": [
            Option(CHOICES[j], float(c), float(v))
            for j, (c, v) in enumerate(
                zip(rng.uniform(1, 9, options), rng.exponential(1, options), strict=True)
            )
        ]
        for i in range(weights)
    }


def all_sums(items):
    combinations = list(product(*items.values()))
    cost = np.array([sum(o.cost for o in c) for c in combinations])
    return cost, np.array([sum(o.loss for o in c) for c in combinations])


@pytest.mark.parametrize("seed", range(4))
def test_no_allocation_is_better_at_any_budget(seed):
    items = make_items(seed)
    front = pareto_front(items)
    assert front.gap == 0
    cost, loss = all_sums(items)
    for limit in np.linspace(cost.min(), cost.max(), 40):
        found = front.within_cost(limit)
        assert found.cost <= limit + 1e-9
        assert found.loss == pytest.approx(loss[cost <= limit + 1e-9].min())
    assert front.within_cost(cost.min() - 0.1) is None
    for most in np.linspace(loss.min(), loss.max(), 20):
        assert front.within_loss(most).cost == pytest.approx(cost[loss <= most + 1e-12].min())


def test_a_point_is_the_sum_of_its_choices():
    items = make_items(7)
    front = pareto_front(items)
    for point in (0, len(front.cost) // 2, len(front.cost) - 1):
        found = front.at(point)
        options = [next(o for o in items[n] if o.choice == c) for n, c in found.choices.items()]
        assert list(found.choices) == list(items)
        assert found.cost == pytest.approx(sum(o.cost for o in options))
        assert found.loss == pytest.approx(sum(o.loss for o in options))


def test_a_thinned_front_is_as_near_as_it_says():
    items = make_items(3, weights=7)
    exact, thin = pareto_front(items), pareto_front(items, most=8)
    assert 0 < thin.gap < exact.loss.max()
    assert len(thin.cost) < len(exact.cost)
    for point, limit in enumerate(exact.cost):
        assert thin.within_cost(limit).loss <= exact.loss[point] + thin.gap + 1e-12


@pytest.mark.parametrize("seed", range(6))
def test_baselines_fit_and_never_beat_the_front(seed):
    items = make_items(seed, weights=8)
    front = pareto_front(items)
    worse = 0
    for limit in np.linspace(front.cost[0] + 1, front.cost[-1], 9):
        exact = front.within_cost(limit)
        for baseline in (greedy, uniform):
            found = baseline(items, limit)
            if found is not None:
                assert found.cost <= limit + 1e-9
                assert found.loss >= exact.loss - 1e-12
                worse += found.loss > exact.loss + 1e-9
    assert worse > 0  # or the comparison shows nothing


def test_greedy_gives_up_where_nothing_fits():
    items = make_items(0)
    assert greedy(items, 0.5) is None and uniform(items, 0.5) is None
