"""The latency table: what it answers, and files that are refused."""

import json
from dataclasses import replace

import pytest

from tvm_c4n.errors import RecipeError
from tvm_c4n.model.families.mamba import mamba_config
from tvm_c4n.pruning.allocation.latency import FILE, MAX_BYTES, LatencyTable, Rest, Workload
from tvm_c4n.pruning.recipe import Choice

CONFIG = mamba_config(
    vocab_size=64, d_model=16, d_inner=32, n_layer=2, d_state=4, d_conv=4, dt_rank=6
)
# The file's names of the sizes are those of its first version.
SIZES = {"hidden": 16, "inner": 32, "state": 4, "conv": 4, "dt_rank": 6, "layers": 2, "vocab": 64}


def seconds(median):
    return {"min": median / 2, "median": median, "max": 2 * median}


def row(median, removed=0, dtype="int8", threads=2, **more):
    sizes = {"rows": 64, "cols": 16, "removed": removed, "dtype": dtype, "threads": threads}
    return {**sizes, "seconds": seconds(median), **more}


def content(rows, **changes):
    rest = [{**SIZES, "threads": 2, "seconds": seconds(5.0)}]
    return {"format": 1, "target": {}, "emulated": False, "rows": rows, "rest": rest, **changes}


def test_a_layer_takes_its_own_median_at_the_number_of_threads_of_most_rows():
    rows = [row(1.0), row(2.0, removed=2), row(3.0, dtype="int4"), row(9.0, threads=1)]
    table = LatencyTable.model_validate(content(rows))
    assert table.threads == 2
    assert table.seconds(64, 16, Choice(0, "int8")) == 1.0
    assert table.seconds(64, 16, Choice(2, "int8")) == 2.0
    assert table.seconds(64, 16, Choice(0, "int4")) == 3.0
    assert table.seconds(16, 64, Choice(0, "int8")) is None
    assert table.seconds(64, 16, Choice(3, "int8")) is None


def test_the_rest_is_that_of_the_model_and_its_threads():
    table = LatencyTable.model_validate(content([row(1.0)]))
    assert Rest.sizes_of(CONFIG) == SIZES
    assert table.outside(CONFIG) == 5.0
    other = replace(CONFIG, layers=CONFIG.layers[:1])
    with pytest.raises(RecipeError, match=r"no `rest` for this model \(hidden 16, layers 1\)"):
        table.outside(other)
    single = LatencyTable.model_validate(content([row(1.0, threads=1)]))
    with pytest.raises(RecipeError, match="with 1 threads"):
        single.outside(CONFIG)


def test_a_workload_weighs_tokens_of_a_prompt_and_generated_ones():
    prompt = {"prompt_seconds": seconds(0.25)}
    rest = {**SIZES, "threads": 2, "seconds": seconds(5.0), **prompt}
    rows = [row(1.0, **prompt), row(2.0, removed=2)]
    table = LatencyTable.model_validate(content(rows, format=2, rest=[rest]))
    workload = Workload(prompt=512, generated=128)
    assert str(workload) == "pp512+tg128"
    assert [str(Workload(7, 0)), str(Workload())] == ["pp7", "tg1"]
    table.check(workload)
    assert table.seconds(64, 16, Choice(0, "int8"), workload) == 128 * 1.0 + 512 * 0.25
    assert table.seconds(64, 16, Choice(0, "int8"), Workload(4, 0)) == 1.0
    assert table.seconds(64, 16, Choice(2, "int8"), workload) is None
    assert table.seconds(64, 16, Choice(2, "int8"), Workload(0, 3)) == 6.0
    assert table.outside(CONFIG, workload) == 128 * 5.0 + 512 * 0.25


def test_a_table_without_prompts_answers_for_generated_tokens_alone():
    first = LatencyTable.model_validate(content([row(1.0)]))
    first.check(Workload())
    with pytest.raises(RecipeError, match=r"^pp9\+tg1: the latency table has no times of prompts"):
        first.check(Workload(prompt=9))


def test_a_table_is_read_from_its_file_or_its_folder(tmp_path):
    (tmp_path / FILE).write_text(json.dumps(content([row(1.0)])))
    assert LatencyTable.read(tmp_path) == LatencyTable.read(tmp_path / FILE)
    assert LatencyTable.read(tmp_path).entries[0].seconds.median == 1.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "missing file"),
        ("{", "not valid JSON"),
        (json.dumps(content([row(0.0)])), r"rows\.0\.seconds\.min"),
        (json.dumps(content([row(1.0, dtype="int5")])), r"rows\.0\.dtype"),
        (json.dumps(content([row(1.0, removed=4)])), r"rows\.0\.removed"),
        (json.dumps(content([row(1.0)], format=4)), "format: "),
        (json.dumps(content([row(1.0)], extra=1)), "extra: "),
        (" " * (MAX_BYTES + 1), "4194305 bytes is too large"),
    ],
)
def test_a_file_that_is_none_is_refused_with_the_command_that_makes_one(tmp_path, text, message):
    if text is not None:
        (tmp_path / FILE).write_text(text)
    with pytest.raises(RecipeError, match=message) as caught:
        LatencyTable.read(tmp_path / FILE)
    assert FILE in str(caught.value)
    assert "tvm-c4n tune --latency-table" in str(caught.value)
