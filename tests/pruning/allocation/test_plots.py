"""Pictures of an allocation: drawn where matplotlib is, left out where it is not."""

import sys

import pytest

from tests.sensitivities import added
from tvm_c4n.model.families.mamba import mamba_config
from tvm_c4n.pruning import Recipe
from tvm_c4n.pruning.allocation.budget import Budget
from tvm_c4n.pruning.allocation.plots import draw
from tvm_c4n.pruning.allocation.selection import select

CONFIG = mamba_config(
    vocab_size=64, d_model=16, d_inner=32, n_layer=3, d_state=4, d_conv=4, dt_rank=8
)


@pytest.fixture
def result():
    found = {"backbone.embeddings.weight": added((0.0,), 0.001, 0.01)}
    for layer in range(CONFIG.n_layer):
        for kind in ("in_proj", "x_proj", "dt_proj", "out_proj"):
            name = CONFIG.projection(layer, kind)
            found[name] = added((0.0, 0.01, 0.1, 0.4), 0.002, 0.03)
    recipe = Recipe(dtype="int8", scale_group=32)
    return select(
        CONFIG, recipe, Budget("size", 8000.0), found, small_bytes=1000, evaluate=lambda _: 0.0
    )


def test_both_pictures_are_written(result, tmp_path):
    pytest.importorskip("matplotlib", reason="pip install 'tvm-c4n[bench]'")
    assert draw(result, CONFIG, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["front.png", "removed.png"]
    for path in tmp_path.iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")


def test_a_budget_that_costs_nothing_is_drawn_without_a_warning(tmp_path, recwarn):
    pytest.importorskip("matplotlib", reason="pip install 'tvm-c4n[bench]'")
    names = [name for name in CONFIG.weights() if name not in CONFIG.unpruned()]
    found = {name: added((0.0,) * 4, 0.0, 0.0) for name in names}
    found["backbone.embeddings.weight"] = added((0.0,), 0.0, 0.0)
    free = select(
        CONFIG, Recipe(), Budget("size", 8000.0), found, small_bytes=1000, evaluate=lambda _: 0.0
    )
    draw(free, CONFIG, tmp_path)
    assert not [str(one.message) for one in recwarn]


def test_the_cell_of_a_layer_says_its_n_and_dtype(result, tmp_path, monkeypatch):
    axes = pytest.importorskip("matplotlib.axes", reason="pip install 'tvm-c4n[bench]'")
    written = {}
    real = axes.Axes.text

    def text(self, x, y, s, **options):
        if s.count("\n") == 1 and s[0].isdigit():
            written[int(y), int(x)] = s
        return real(self, x, y, s, **options)

    monkeypatch.setattr(axes.Axes, "text", text)
    draw(result, CONFIG, tmp_path)
    assert len({choice.dtype for choice in result.chosen.choices.values()}) > 1
    short = {"float16": "f16", "int8": "i8", "int4": "i4"}
    for row, kind in enumerate(("in_proj", "x_proj", "dt_proj", "out_proj")):
        for layer in range(CONFIG.n_layer):
            choice = result.chosen.choices[CONFIG.projection(layer, kind)]
            assert written[row, layer] == f"{choice.removed}\n{short[choice.dtype]}"


def test_without_matplotlib_nothing_is_written(result, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert not draw(result, CONFIG, tmp_path)
    assert not list(tmp_path.iterdir())
