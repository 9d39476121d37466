"""Recipes as files: written, read, and refused in one line."""

import re

import pytest

from tvm_c4n.errors import RecipeError
from tvm_c4n.pruning import Recipe


@pytest.mark.parametrize("name", ["recipe.yaml", "recipe.yml", "recipe.json", "recipe"])
def test_recipes_survive_a_file(name, tmp_path):
    removed = {"in_proj": 1, "layers.3.out_proj": 2}
    recipe = Recipe(removed=removed, dtype="int4", dampening_frac=1e-5, without=("rms",), seed=3)
    text = recipe.model_dump_json() if name.endswith("json") else recipe.to_yaml()
    (tmp_path / name).write_text(text)
    assert Recipe.from_file(tmp_path / name) == recipe


def test_a_file_need_not_name_what_stays_as_it_is(tmp_path):
    (tmp_path / "r.yaml").write_text("removed: 1  # of every 4\ndampening_frac: 1e-2\n")
    assert Recipe.from_file(tmp_path / "r.yaml") == Recipe(removed=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "r.yaml: YAML is not a mapping"),
        ("sampels: 4", "r.yaml: sampels=4: a recipe has no such key; the nearest is samples"),
        ("samples: 0", "r.yaml: samples=0: Input should be greater than or equal to 1"),
        ("removed: {in_proj: 5}", "r.yaml: removed['in_proj']=5: 0, 1, 2 or 3 of every 4"),
        ("recipe: 3", "r.yaml: recipe=3: a recipe has no such key"),
        ("a: 1\na: 2", "r.yaml: not valid YAML (line 2: duplicate key 'a')"),
    ],
)
def test_bad_files_are_refused_in_one_line(text, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(RecipeError, match=re.escape(message)) as caught:
        Recipe.from_file("r.yaml")
    assert "\n" not in str(caught.value)
