"""What only moves elements is counted, and every decision is told with its reason."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from relay_passes.layout_report import LayoutReport, count_layout
from tvm_c4n._tvm import GlobalVar, IRModule, PrimFunc, relax, tirx

R = relax.op


def module(make: Any) -> IRModule:
    """``main(x) = make(x)`` for x of 4 x 6, legalised."""
    bb = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((4, 6), "float32"))
    with bb.function("main", [x]):
        with bb.dataflow():
            out = bb.emit_output(bb.normalize(make(bb, x)))
        bb.emit_func_output(out)
    return relax.transform.LegalizeOps()(bb.get())


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda bb, x: R.add(x, x), (0, 0, 0)),
        (lambda bb, x: R.permute_dims(x), (1, 1, 0)),
        (lambda bb, x: R.reshape(x, (24,)), (0, 0, 1)),
        (lambda bb, x: R.permute_dims(bb.emit(R.permute_dims(x))), (2, 2, 0)),
        (lambda bb, x: R.nn.relu(bb.emit(R.permute_dims(bb.emit(R.add(x, x))))), (1, 1, 0)),
    ],
)
def test_calls_are_counted_by_class(make: Any, expected: tuple[int, int, int]) -> None:
    found = count_layout(module(make))
    assert (found["kernels"], found["copies"], found["views"]) == expected


def call(shape: tuple[Any, ...]) -> Any:
    """What a report reads of a call."""
    return SimpleNamespace(
        var=relax.Var("lv"), gvar=GlobalVar("transpose"), out=relax.TensorType(shape, "float16")
    )


def test_the_file_tells_what_went_where_and_what_stayed_why(tmp_path: Path) -> None:
    before, after = module(lambda _, x: R.permute_dims(x)), module(lambda _, x: R.add(x, x))
    func = next(f for _, f in before.functions_items() if isinstance(f, PrimFunc))
    report = LayoutReport(before)
    report.function = "main"
    into = SimpleNamespace(into=[GlobalVar("b"), GlobalVar("a"), GlobalVar("b")])
    report.gone(call((6, 4)), into)  # type: ignore[arg-type]
    report.stays(call((6, 4)), func, "its reader is fixed")
    report.stays(call((tirx.Var("n", "int64"), 4)), func, "its reader is fixed")
    report.write(tmp_path / "new" / "layout.json", after)
    found = json.loads((tmp_path / "new" / "layout.json").read_text())
    assert (found["was"], found["is"]) == (count_layout(before), count_layout(after))
    (went,) = found["went"]
    assert went["became index maths in"] == ["a", "b"]
    assert (went["function"], went["kernel"], went["shape"]) == ("main", "transpose", ["6", "4"])
    assert found["stays"][1]["shape"] == ["n", "4"]
    assert [entry["bytes"] for entry in found["stays"]] == [48, None]
    assert {entry["why"] for entry in found["stays"]} == {"its reader is fixed"}
    assert found["stays"][0]["blocks"] == ["T_transpose"]
