"""How options of `prune` are read; `tests/cli/errors` has a row for each that is refused."""

import pytest

from tvm_c4n.cli.pruning_options import parse_budget, parse_removed
from tvm_c4n.errors import RecipeError
from tvm_c4n.pruning.allocation.latency import FILE, LatencyTable, Rest, Seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2", 2),
        ("in_proj=2,out_proj=1", {"in_proj": 2, "out_proj": 1}),
        (" in_proj = 3 ", {"in_proj": 3}),
        ("layers.3.out_proj=1", {"layers.3.out_proj": 1}),
    ],
)
def test_removed_is_a_number_or_one_per_projection(text, expected):
    assert parse_removed(text) == expected


@pytest.mark.parametrize(
    "text", ["", "two", "in_proj=", "=2", "in_proj=2,", "in_proj=2,in_proj=1", "in_proj=2;x=1"]
)
def test_other_values_of_removed_are_refused(text):
    with pytest.raises(RecipeError, match="--removed"):
        parse_removed(text)


@pytest.mark.parametrize(
    ("text", "secs", "workload"),
    [
        ("8ms", 0.008, "tg1"),
        ("340us:tg1", 0.00034, "tg1"),
        ("1.5s:pp512+tg128", 1.5, "pp512+tg128"),
        ("20ms:tg3+pp20", 0.02, "pp20+tg3"),
        ("20ms:pp20", 0.02, "pp20"),
    ],
)
def test_a_latency_is_of_a_token_or_of_a_workload(text, secs, workload, tmp_path):
    one = Seconds(min=1, median=1, max=1)
    rest = Rest(hidden=1, layers=1, vocab=1, threads=1, seconds=one, prompt_seconds=one)
    table = LatencyTable(format=2, target={}, emulated=False, rows=(), rest=(rest,))
    (tmp_path / FILE).write_text(table.model_dump_json(by_alias=True))
    budget = parse_budget(None, None, text, None, tmp_path)
    assert budget is not None
    assert budget.value == pytest.approx(secs)
    assert str(budget.workload) == workload


@pytest.mark.parametrize(
    "tokens",
    ["", "512", "pp", "tg0", "pp-1", "pp5+", "+tg5", "pp5+pp6", "pp5tg6", "pp\u0665", "pp1e9"],
)
def test_other_workloads_are_refused(tokens, tmp_path):
    with pytest.raises(RecipeError, match="after the colon say what takes that time"):
        parse_budget(None, None, f"8ms:{tokens}", None, tmp_path)
