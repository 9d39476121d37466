"""DecomposeLayoutOps: splits, evenly spaced lookups and symbolic reshapes become plain moves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from relay_passes import DecomposeLayoutOps
from relay_passes.dump_module import count_calls
from tvm_c4n._tvm import IRModule, Target, relax, tirx, tvm


def module(make: Any, shape: tuple[Any, ...] = (4, 6)) -> IRModule:
    """``main(x) = make(x)``."""
    bb = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType(shape, "float32"))
    with bb.function("main", [x]):
        with bb.dataflow():
            out = bb.emit_output(bb.normalize(make(bb, x)))
        bb.emit_func_output(out)
    return bb.get()


def run(mod: IRModule, x: np.ndarray) -> list[np.ndarray]:
    vm = relax.VirtualMachine(relax.build(mod, Target({"kind": "llvm"})), tvm.cpu())
    found = vm["main"](tvm.runtime.tensor(x))
    return [found.numpy()] if hasattr(found, "numpy") else [item.numpy() for item in found]


def take(places: Any, axis: int = 1) -> Any:
    return lambda bb, x: relax.op.take(x, relax.const(np.array(places, "int64")), axis=axis)


REWRITTEN = {
    "split": (lambda bb, x: relax.op.split(x, [1, 4], axis=1), "relax.split"),
    "split of the last axis": (lambda bb, x: relax.op.split(x, 2, axis=-1), "relax.split"),
    "roll": (take([4, 5, 0, 1, 2, 3]), "relax.take"),
    "roll backwards": (take([2, 3, 0, 1], axis=0), "relax.take"),
    "every second": (take([0, 2, 4]), "relax.take"),
    "one": (take(3), "relax.take"),
    "last axis": (take([1, 2], axis=-1), "relax.take"),
}
LEFT = {
    "uneven": take([0, 1, 3]),
    "wraps twice": take([0, 4, 2, 0]),
    "outside": take([4, 5, 6]),
    "negative": take([-1, 0]),
    "nothing": take([]),
    "static reshape": lambda bb, x: relax.op.reshape(x, (24,)),
}


@pytest.mark.parametrize("name", REWRITTEN)
def test_a_move_is_a_move_and_gives_the_same_numbers(name: str) -> None:
    make, operator = REWRITTEN[name]
    before = module(make)
    after = DecomposeLayoutOps()(before)
    assert count_calls(before)[operator] == 1
    assert count_calls(after)[operator] == 0
    relax.analysis.well_formed(after)  # raises
    tvm.ir.assert_structural_equal(DecomposeLayoutOps()(after), after)
    x = np.random.default_rng(0).random((4, 6), np.float32)
    for found, expected in zip(run(after, x), run(before, x), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", LEFT)
def test_what_would_stay_a_lookup_is_left(name: str) -> None:
    before = module(LEFT[name])
    assert DecomposeLayoutOps()(before).same_as(before)


def test_a_symbolic_reshape_divides_by_static_lengths() -> None:
    n = tirx.Var("n", "int64")
    before = module(lambda bb, x: relax.op.reshape(x, (n, 2, 3)), (n, 6))
    after = DecomposeLayoutOps()(before)
    assert count_calls(after) == {"call_tir reshape": 1}
    x = np.random.default_rng(0).random((5, 6), np.float32)
    np.testing.assert_array_equal(run(after, x)[0], x.reshape(5, 2, 3))


def test_a_place_that_is_computed_stays_a_lookup() -> None:
    bb = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((4, 6), "float32"))
    places = relax.Var("places", relax.TensorType((3,), "int64"))
    with bb.function("main", [x, places]):
        with bb.dataflow():
            out = bb.emit_output(relax.op.take(x, places, axis=1))
        bb.emit_func_output(out)
    before = bb.get()
    assert DecomposeLayoutOps()(before).same_as(before)
