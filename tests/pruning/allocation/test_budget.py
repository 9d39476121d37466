"""Budgets: what a weight may become, what it costs, and the files and values that are refused."""

import json
from dataclasses import replace

import pytest

from tests.sensitivities import added
from tvm_c4n.errors import RecipeError
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.families.mamba import mamba_config
from tvm_c4n.pruning import Recipe
from tvm_c4n.pruning.allocation.budget import Budget, recipe_of
from tvm_c4n.pruning.allocation.latency import LatencyTable, Workload
from tvm_c4n.pruning.recipe import Choice

CONFIG = mamba_config(
    vocab_size=64, d_model=16, d_inner=32, n_layer=2, d_state=4, d_conv=4, dt_rank=6
)


def sensitivities():
    found = {CONFIG.embeddings: added((0.0,), 0.001, 0.01)}
    for layer in range(CONFIG.n_layer):
        for projection in ("in_proj", "x_proj", "dt_proj", "out_proj"):
            removal = (0.0,) if projection == "dt_proj" else (0.0, 0.01, 0.1, 0.5)
            name = CONFIG.projection(layer, projection)
            found[name] = added(removal, 0.001, 0.02)
    return found


def table(**change):
    seconds = {"min": 1e-5, "median": 2e-5, "max": 3e-5}
    sizes = {"hidden": 16, "inner": 32, "state": 4, "conv": 4, "dt_rank": 6, "layers": 2}
    shapes = [(64, 16), (64, 16), (14, 32), (32, 6), (16, 32)]
    rows = [
        {"rows": r, "cols": c, "removed": 0, "dtype": d, "threads": 2, "seconds": seconds}
        for r, c in dict.fromkeys(shapes)
        for d in ("int8", "float16")
    ]
    rest = [{**sizes, "vocab": 64, "threads": 2, "seconds": seconds}]
    found = {"format": 1, "target": {}, "emulated": True, "rows": rows, "rest": rest}
    return {**found, **change}


def test_sparsity_counts_weights_and_keeps_the_dtype():
    budget = Budget("sparsity", 0.5)
    options = budget.options(CONFIG, Recipe(dtype="int8"), sensitivities())
    name = CONFIG.projection(0, "in_proj")
    assert [(o.choice, o.cost) for o in options[name]] == [
        (Choice(n, "int8"), 64 * 16 * (4 - n) / 4) for n in range(4)
    ]
    total = CONFIG.n_layer * (64 * 16 + 14 * 32 + 32 * 6 + 16 * 32)
    assert budget.limit(CONFIG) == pytest.approx(total / 2)
    assert budget.fixed_cost(CONFIG, 99) == 0


def test_what_says_what_a_state_keeps_stays_dense():
    sizes = {"hidden_size": 32, "num_heads": 4, "head_dim": 16, "state_size": 8, "n_groups": 2}
    config = describe_model(
        {"model_type": "mamba2", "vocab_size": 96, "num_hidden_layers": 1, **sizes}
    )
    same = added((0.0, 0.01, 0.1, 0.5), 0.001, 0.02)
    found = Budget("sparsity", 0.5).options(
        config, Recipe(dtype="int4"), dict.fromkeys(config.weights(), same)
    )
    removed = {
        p.name: [o.choice.removed for o in found[p.weight]] for p in config.projections(0).values()
    }
    assert removed == {"in_proj": [0, 1, 2, 3], "bcdt_proj": [0], "out_proj": [0, 1, 2, 3]}


def test_what_may_become_of_a_weight_is_what_is_priced():
    """Sensitivities are measured for `choices`; a share of weights removed keeps the dtype."""
    for budget in (Budget("sparsity", 0.5), Budget("size", 5000.0)):
        choices = budget.choices(CONFIG, Recipe(dtype="int8"))
        options = budget.options(CONFIG, Recipe(dtype="int8"), sensitivities())
        assert choices == {name: [o.choice for o in found] for name, found in options.items()}
    x_proj = CONFIG.projection(0, "x_proj")
    assert len(choices[x_proj]) == 5 * 4 and len(choices[CONFIG.embeddings]) == 5
    assert choices[CONFIG.projection(0, "dt_proj")] == [Choice(0, "float16"), Choice(0, "int8")]


def test_size_counts_packed_bytes_of_everything():
    budget = Budget("size", 5000.0)
    options = budget.options(CONFIG, Recipe(), sensitivities())
    name = CONFIG.projection(1, "out_proj")
    by_choice = {o.choice: o.cost for o in options[name]}
    assert by_choice[Choice(0, "float16")] == 16 * 32 * 2
    assert by_choice[Choice(2, "int8")] == 16 * (32 / 2 + 32 / 8 + 2)
    assert {(c.removed, c.dtype) for c in by_choice} == {
        (n, dtype) for n in range(4) for dtype in ("float16", "int8", "int4", "int3", "int2")
    }
    dt_proj = {o.choice for o in options[CONFIG.projection(0, "dt_proj")]}
    assert dt_proj == {Choice(0, "float16"), Choice(0, "int8")}
    assert budget.fixed_cost(CONFIG, 99) == 99
    untied = replace(CONFIG, head="lm_head.weight")
    twice = budget.options(untied, Recipe(), sensitivities())[CONFIG.embeddings][0].cost
    assert twice == 2 * options[CONFIG.embeddings][0].cost


def test_the_recipe_stores_every_weight_as_chosen():
    choices = {CONFIG.embeddings: Choice(0, "int4")}
    for layer in range(CONFIG.n_layer):
        choices[CONFIG.projection(layer, "in_proj")] = Choice(3 - layer, "int4")
        choices[CONFIG.projection(layer, "x_proj")] = Choice(1, "int8")
        choices[CONFIG.projection(layer, "dt_proj")] = Choice(0, "float16")
        choices[CONFIG.projection(layer, "out_proj")] = Choice(layer, "float16")
    assert recipe_of(CONFIG, Recipe(seed=4), choices).plan(CONFIG) == choices
    assert recipe_of(CONFIG, Recipe(seed=4), choices).seed == 4


def test_latency_is_read_from_the_table(tmp_path):
    (tmp_path / "latency.json").write_text(json.dumps(table()))
    budget = Budget("latency", 1e-3, LatencyTable.read(tmp_path))
    options = budget.options(CONFIG, Recipe(), sensitivities())
    found = {o.choice: o.cost for o in options[CONFIG.projection(0, "x_proj")]}
    assert found == {Choice(0, "int8"): 2e-5, Choice(0, "float16"): 2e-5}
    assert budget.fixed_cost(CONFIG, 99) == 2e-5
    other = replace(CONFIG, layers=CONFIG.layers[:1])
    with pytest.raises(RecipeError, match="no `rest` for this model"):
        budget.fixed_cost(other, 99)
    thin = LatencyTable.model_validate(table(rows=[]))
    with pytest.raises(RecipeError, match=r"no entry for backbone\.embeddings\.weight, 64 x 16"):
        Budget("latency", 1e-3, thin).options(CONFIG, Recipe(), sensitivities())


def test_of_a_prompt_the_head_costs_nothing_of_its_own():
    prompt = {"prompt_seconds": {"min": 1e-6, "median": 1e-6, "max": 1e-6}}
    head = (CONFIG.vocab_size, CONFIG.d_model)
    found = table(format=2)
    found["rest"][0].update(prompt)
    for row in found["rows"]:
        row.update(prompt)
    with_prompts = LatencyTable.model_validate(found)
    budget = Budget("latency", 1e-3, with_prompts, Workload(prompt=30, generated=2))
    options = budget.options(CONFIG, Recipe(), sensitivities())
    assert head == CONFIG.tensor_shapes()[CONFIG.embeddings]
    assert [o.cost for o in options[CONFIG.embeddings]] == pytest.approx([4e-5, 4e-5])
    x_proj = options[CONFIG.projection(0, "x_proj")]
    assert [o.cost for o in x_proj] == pytest.approx([7e-5, 7e-5])
    assert budget.fixed_cost(CONFIG, 99) == pytest.approx(7e-5)
    with pytest.raises(RecipeError, match="no times of prompts"):
        Budget("latency", 1e-3, LatencyTable.model_validate(table()), Workload(prompt=1))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        (json.dumps(table(format=4)), "format"),
        (json.dumps(table(more=1)), "more: Extra"),
        (json.dumps(table(rows=[{"rows": 0}])), r"rows\.0\.rows"),
    ],
)
def test_files_that_are_no_table_are_refused_in_one_line(tmp_path, content, message):
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(RecipeError, match=message) as caught:
        LatencyTable.read(tmp_path / "t.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "value"), [("sparsity", 0.0), ("sparsity", 0.8), ("ppl_ratio", 1.0), ("size", -1.0)]
)
def test_values_that_make_no_sense(kind, value):
    with pytest.raises(RecipeError, match=kind.replace("_", "-")):
        Budget(kind, value)


def test_latency_without_a_table():
    with pytest.raises(RecipeError, match="--latency-table"):
        Budget("latency", 0.01)
