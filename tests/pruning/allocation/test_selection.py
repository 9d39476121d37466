"""From sensitivities to a recipe: the budget is met with the least loss, and a ratio by trials."""

from itertools import product
from math import exp

import pytest

from tests.sensitivities import added
from tvm_c4n.errors import RecipeError
from tvm_c4n.model.families.mamba import mamba_config
from tvm_c4n.pruning import Recipe
from tvm_c4n.pruning.allocation.budget import Budget
from tvm_c4n.pruning.allocation.selection import TRIALS, select

CONFIG = mamba_config(
    vocab_size=64, d_model=16, d_inner=32, n_layer=1, d_state=4, d_conv=4, dt_rank=6
)
SMALL_BYTES = 1000
RECIPE = Recipe(dtype="int8", scale_group=32)
LOSSES = {"in_proj": 0.1, "x_proj": 0.5, "dt_proj": 0.4, "out_proj": 0.02}


def sensitivities():
    found = {"backbone.embeddings.weight": added((0.0,), 0.001, 0.01)}
    for kind, loss in LOSSES.items():
        # Whose columns do not fill groups: nothing can be removed.
        removal = (0.0,) if kind == "dt_proj" else (0.0, 0.1 * loss, loss, 4 * loss)
        found[CONFIG.projection(0, kind)] = added(removal, 0.002, 0.03)
    return found


def never(recipe):
    raise AssertionError("only a perplexity ratio is measured")


def chosen(budget, evaluate=never):
    found = sensitivities()
    return select(CONFIG, RECIPE, budget, found, small_bytes=SMALL_BYTES, evaluate=evaluate)


@pytest.mark.parametrize("value", [0.05, 0.1, 0.3, 0.5])
def test_no_other_choice_meets_a_sparsity_with_less_loss(value):
    budget, found = Budget("sparsity", value), sensitivities()
    result = chosen(budget)
    options = budget.options(CONFIG, RECIPE.model_copy(update={"removed": 0}), found)
    limit = budget.limit(CONFIG)
    assert result.chosen.cost + result.fixed <= limit
    reachable = [
        sum(option.loss for option in some)
        for some in product(*options.values())
        if sum(option.cost for option in some) + result.fixed <= limit
    ]
    assert result.chosen.loss == pytest.approx(min(reachable))


def test_the_recipe_stores_what_was_chosen():
    result = chosen(Budget("size", 3000.0))
    plan = result.recipe.plan(CONFIG)
    for name, choice in result.chosen.choices.items():
        if name in plan:
            assert plan[name] == choice
    assert result.fixed == SMALL_BYTES
    written = result.as_json()
    assert written["chosen"]["cost"] == result.chosen.cost + SMALL_BYTES <= 3000
    assert written["target"] == {"kind": "size", "value": 3000.0}
    costs = [point["cost"] for point in written["front"]]
    assert costs == sorted(costs)
    assert written["measured_ratio"] is None


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.7])
def test_a_ratio_is_met_whatever_the_prediction_is_off_by(factor):
    """A model that loses another multiple of what is predicted."""
    losses, found = [], sensitivities()

    def evaluate(recipe):
        plan = recipe.plan(CONFIG)
        losses.append(factor * sum(found[name].loss(choice) for name, choice in plan.items()))
        return losses[-1]

    result = chosen(Budget("ppl_ratio", 1.2), evaluate)
    assert result.measured_ratio <= 1.2
    assert any(exp(loss) == pytest.approx(result.measured_ratio) for loss in losses)
    assert len(losses) == TRIALS
    assert any(choice.removed for choice in result.chosen.choices.values())


def test_a_ratio_that_no_trial_meets_says_what_the_last_one_had():
    with pytest.raises(RecipeError, match=r"ppl-ratio 1\.01: not met in 4 trials; .* had 1\.649"):
        chosen(Budget("ppl_ratio", 1.01), lambda recipe: 0.5)


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (Budget("size", 1.0), r"size 1e-06MB: the smallest is 0\.00MB"),
        (Budget("sparsity", 0.75), r"sparsity 0\.75: out of reach"),
    ],
)
def test_a_budget_out_of_reach_says_what_is_in_reach(budget, message):
    with pytest.raises(RecipeError, match=message):
        chosen(budget)
