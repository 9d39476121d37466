"""Recipes say what is wrong in one line, and plan every weight."""

import re
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.models import EXPERTS
from tvm_c4n.errors import RecipeError
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.families.mamba import mamba_config
from tvm_c4n.pruning import Choice, Recipe

CONFIG = mamba_config(
    vocab_size=64, d_model=16, d_inner=32, n_layer=4, d_state=4, d_conv=4, dt_rank=6
)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"method": "random"}, "method='random'"),
        ({"removed": 5}, "removed=5: 0, 1, 2 or 3"),
        ({"removed": -1}, "removed=-1"),
        ({"removed": {"in_proj": 4}}, "removed['in_proj']=4"),
        ({"removed": [1, 2]}, "removed=[1, 2]: 0, 1, 2 or 3"),
        ({"removed": {"expert_up": [1, 4]}}, "removed['expert_up']=4: 0, 1, 2 or 3"),
        ({"removed": {"expert_up": []}}, "removed['expert_up']=[]: 0, 1, 2 or 3"),
        ({"removed": {"expert_up": [1, "2"]}}, "removed['expert_up']='2': 0, 1, 2 or 3"),
        ({"removed": "two"}, "removed='two'"),
        ({"removed": True}, "removed"),
        ({"dtype": "float8"}, "dtype='float8'"),
        ({"scale_group": 48}, "scale_group=48"),
        ({"samples": 0}, "samples=0"),
        ({"damp": 0.0}, "dampening_frac=0.0"),
        ({"without": [["rms"]]}, "without=['rms']: Input should be 'permute', "),
        ({"remove": 2}, "remove=2: a recipe has no such key; the nearest is removed"),
        ({"colour": 2}, "colour=2: a recipe has no such key; known are removed, method, dtype"),
        ({"dtypes": {"in_proj": "int5"}}, "dtypes.in_proj='int5': Input should be 'float16', "),
    ],
)
def test_bad_recipes_are_refused_in_one_line(fields, message):
    with pytest.raises(RecipeError, match=re.escape(message)) as caught:
        Recipe(**fields)
    assert "\n" not in str(caught.value)


def test_an_int_applies_to_in_proj_and_out_proj():
    plan = Recipe(removed=3, dtype="int4").plan(CONFIG)
    assert plan[CONFIG.projection(2, "in_proj")] == Choice(3, "int4")
    assert plan[CONFIG.projection(0, "out_proj")] == Choice(3, "int4")
    assert plan[CONFIG.projection(0, "x_proj")] == Choice(0, "int4")
    plan = Recipe(removed=1, dtype="int3").plan(CONFIG)
    assert plan[CONFIG.projection(2, "in_proj")] == Choice(1, "int3")
    assert plan[CONFIG.projection(0, "x_proj")] == Choice(0, "int4")
    assert plan[CONFIG.projection(0, "dt_proj")] == Choice(0, "int8")
    assert plan[CONFIG.embeddings] == Choice(0, "int8")
    assert plan[CONFIG.projection(0, "dt_proj")] == Choice(0, "int8")
    assert plan["backbone.embeddings.weight"] == Choice(0, "int8")
    assert len(plan) == 4 * 4 + 1


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("float16", ("float16",) * 3), ("int8", ("int8", "int8", "int8"))],
)
def test_dtypes_follow_the_recipe(dtype, expected):
    plan = Recipe(dtype=dtype).plan(CONFIG)
    found = [plan[CONFIG.projection(1, p)].dtype for p in ("x_proj", "dt_proj")]
    assert (*found, plan["backbone.embeddings.weight"].dtype) == expected


def test_a_layer_wins_over_its_projection_and_the_rest_stays_dense():
    removed = {"out_proj": 2, "layers.3.out_proj": 1, "layers.0.x_proj": 3}
    plan = Recipe(removed=removed).plan(CONFIG)
    found = [plan[CONFIG.projection(i, "out_proj")].removed for i in range(4)]
    assert found == [2, 2, 2, 1]
    assert [plan[CONFIG.projection(i, "x_proj")].removed for i in range(4)] == [3, 0, 0, 0]
    assert plan[CONFIG.projection(0, "in_proj")].removed == 0


def test_plan_names_what_does_not_fit_the_model():
    with pytest.raises(RecipeError, match=r"layers\.4\.in_proj.*4 layers"):
        Recipe(removed={"layers.4.in_proj": 1}).plan(CONFIG)
    with pytest.raises(RecipeError, match=r"dt_proj\.weight has 6 columns.*multiple of 4"):
        Recipe(removed={"dt_proj": 1}).plan(CONFIG)
    with pytest.raises(RecipeError, match="'conv1d' names no projection; use in_proj, x_proj"):
        Recipe(removed={"conv1d": 1}).plan(CONFIG)
    with pytest.raises(RecipeError, match=r"'layers\.x\.in_proj' names no projection"):
        Recipe(dtypes={"layers.x.in_proj": "int8"}).plan(CONFIG)
    untied = replace(CONFIG, head="lm_head.weight")
    assert Recipe(dtype="int8").plan(untied)["lm_head.weight"] == Choice(0, "int8")


def test_experts_may_differ():
    model = describe_model(EXPERTS)
    each = Recipe(removed={"expert_up": [1, 2, 2, 3], "expert_down": [1, 1, 1, 1]}, dtype="int4")
    plan = each.plan(model)
    assert plan[model.projection(0, "expert_up")] == Choice(2, "int4", (1, 2, 2, 3))
    assert plan[model.projection(1, "expert_up")].pattern == (1, 2, 2, 3)
    assert plan[model.projection(0, "expert_down")] == Choice(1, "int4")
    assert Recipe.model_validate_json(each.model_dump_json()) == each
    with pytest.raises(RecipeError, match="3 n for expert_up of layer 0, which has 4 experts"):
        Recipe(removed={"expert_up": [1, 2, 3]}).plan(model)
    with pytest.raises(RecipeError, match="4 n for up_proj of layer 0, which has no experts"):
        Recipe(removed={"up_proj": [1, 2, 2, 3]}).plan(model)
    narrow = r"with 64 columns in int8, all experts are dense or none is"
    with pytest.raises(RecipeError, match=narrow):
        Recipe(removed={"expert_down": [0, 2, 2, 2]}, dtype="int8").plan(model)


def test_recipes_are_frozen_and_survive_json():
    recipe = Recipe(removed={"in_proj": 1}, dtype="int4", seed=3)
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    with pytest.raises(ValueError, match="frozen"):
        recipe.seed = 4


def test_recipes_of_the_first_version_are_read():
    old = '{"removed": 2, "damp": 0.02, "without": ["imitate", "feedback", "rms"]}'
    new = Recipe(dampening_frac=0.02, without=("corrected_target", "error_feedback", "rms"))
    assert Recipe.model_validate_json(old) == new
    assert Recipe(damp=0.02, without=("imitate", "feedback", "rms")) == new


def test_recipe_needs_no_torch_and_prune_says_so():
    """A machine without torch can still read recipes."""
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from tvm_c4n.pruning import Recipe; Recipe()\n"
        "from tvm_c4n.errors import C4nError\n"
        "try:\n    from tvm_c4n.pruning import prune\n"
        "except C4nError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "pruning needs torch: pip install 'tvm-c4n[prune]'"
    code = "import sys, tvm_c4n.pruning; assert not {'torch', 'tvm'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
