"""From sensitivities to a recipe that meets a budget. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import exp, log
from typing import Any

from tvm_c4n.errors import RecipeError
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.pruning.allocation.budget import UNITS, Budget, recipe_of
from tvm_c4n.pruning.allocation.latency import TOKEN
from tvm_c4n.pruning.allocation.pareto import Allocation, Front, greedy, pareto_front, uniform
from tvm_c4n.pruning.allocation.sensitivity import Sensitivity
from tvm_c4n.pruning.recipe import Recipe

# Models that are pruned to meet a perplexity ratio. Each trial corrects the prediction by what the
# one before it measured; the last one that meets the ratio is taken.
TRIALS = 4
# Points of the front that the table shows.
FRONT_POINTS = 12

# Prunes by a recipe and returns log(perplexity / dense perplexity) on text not calibrated with.
Evaluate = Callable[[Recipe], float]


@dataclass(frozen=True)
class AllocationResult:
    """What was chosen for a budget, and what else could have been.

    Attributes
    ----------
    budget : Budget
    recipe : Recipe
        That stores every weight as chosen.
    chosen : Allocation
    front : Front
    fixed : float
        Cost of what no choice changes; to be added to all others.
    greedy, uniform : Allocation or None
        The baselines within the same limit; None if they do not get there.
    measured_ratio : float or None
        For a "ppl_ratio" budget: the ratio of perplexities on calibration text not calibrated with.
    """

    budget: Budget
    recipe: Recipe
    chosen: Allocation
    front: Front
    fixed: float
    greedy: Allocation | None
    uniform: Allocation | None
    measured_ratio: float | None

    def as_json(self) -> dict[str, Any]:
        """Describe the allocation, for ``allocation.json``."""
        workload = {"workload": str(self.budget.workload)} if self.budget.table else {}
        return {
            # The file keeps the word of its first version.
            "target": {"kind": self.budget.kind, "value": self.budget.value, **workload},
            "unit": UNITS[self.budget.kind],
            "fixed_cost": self.fixed,
            "chosen": self._point(self.chosen),
            "greedy": self.greedy and self._point(self.greedy),
            "uniform": self.uniform and self._point(self.uniform),
            "measured_ratio": self.measured_ratio,
            "gap": self.front.gap,
            "front": [self._point(allocation) for allocation in self.points()],
            "choices": {
                name: {"removed": choice.pattern, "dtype": choice.dtype}
                for name, choice in self.chosen.choices.items()
            },
        }

    def points(self, count: int = FRONT_POINTS) -> list[Allocation]:
        """Return some points of the front, evenly by cost."""
        first, last = float(self.front.cost[0]), float(self.front.cost[-1])
        limits = (first + (last - first) * i / (count - 1) for i in range(count))
        found = (self.front.within_cost(limit) for limit in limits)
        return [allocation for allocation in found if allocation is not None]

    def _point(self, allocation: Allocation) -> dict[str, float]:
        return {"cost": allocation.cost + self.fixed, "predicted_loss": allocation.loss}


def select(
    config: ModelConfig,
    recipe: Recipe,
    budget: Budget,
    sensitivities: Mapping[str, Sensitivity],
    *,
    small_bytes: int,
    evaluate: Evaluate,
) -> AllocationResult:
    """Choose n and dtype of every weight so that the budget is met with the least loss.

    Parameters
    ----------
    config, recipe
        The dense model's; the recipe's ``removed`` and ``dtypes`` are chosen anew.
    budget : Budget
    sensitivities : mapping of tensor name to Sensitivity
        From `sensitivity.measure`.
    small_bytes : int
        Bytes of the tensors that are stored dense in any case.
    evaluate : callable
        See `Evaluate`; called for "ppl_ratio" only.

    Raises
    ------
    RecipeError
        The budget cannot be met; the message says what can.
    """
    recipe = recipe.model_copy(update={"removed": 0, "dtypes": {}})
    items = budget.options(config, recipe, sensitivities)
    front = pareto_front(items)
    fixed = budget.fixed_cost(config, small_bytes)
    ratio = None
    if budget.kind == "ppl_ratio":
        chosen, ratio = _by_ratio(budget.value, front, config, recipe, evaluate)
        limit = chosen.cost
    else:
        limit = budget.limit(config) - fixed
        found = front.within_cost(limit)
        if found is None:
            raise RecipeError(_out_of_reach(budget, float(front.cost[0]) + fixed))
        chosen = found
    return AllocationResult(
        budget=budget,
        recipe=recipe_of(config, recipe, chosen.choices),
        chosen=chosen,
        front=front,
        fixed=fixed,
        greedy=greedy(items, limit),
        uniform=uniform(items, limit),
        measured_ratio=ratio,
    )


def _by_ratio(
    ratio: float, front: Front, config: ModelConfig, recipe: Recipe, evaluate: Evaluate
) -> tuple[Allocation, float]:
    """Find a cheap allocation whose measured ratio meets the budget."""
    wanted = log(ratio)
    predicted = wanted
    best: tuple[Allocation, float] | None = None
    for _ in range(TRIALS):
        allocation = front.within_loss(predicted)
        found = evaluate(recipe_of(config, recipe, allocation.choices))
        if found <= wanted and (best is None or allocation.cost < best[0].cost):
            best = allocation, exp(found)
        # Aim a little inside: a ratio that is missed by a hair is missed.
        predicted *= 0.98 * wanted / max(found, wanted / 8)
    if best is None:
        raise RecipeError(
            f"ppl-ratio {ratio:g}: not met in {TRIALS} trials; the last one had {exp(found):.3f}; "
            "set a larger ratio"
        )
    return best


def _out_of_reach(budget: Budget, least: float) -> str:
    """Say what can be reached, in the unit that the budget has on the command line."""
    if budget.kind == "size":
        return f"size {budget.value / 1e6:g}MB: the smallest is {least / 1e6:.2f}MB"
    if budget.kind == "latency":
        asked = "" if budget.workload == TOKEN else f":{budget.workload}"
        return f"latency {budget.value * 1e3:g}ms{asked}: the fastest is {least * 1e3:.3f}ms"
    return f"sparsity {budget.value:g}: out of reach; x_proj and dt_proj limit it"
