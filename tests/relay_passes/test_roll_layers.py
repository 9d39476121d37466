"""RollLayers: one kernel for the layers of a decode step, and what must stay apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from relay_passes import FuseRegions, LiftConstants, RollLayers
from relay_passes.dump_module import count_calls
from tests.relay_passes import small_hybrid
from tests.relay_passes.rolled_case import ROW, TURNS, WORK, turn
from tests.relay_passes.small_mamba import CHOOSE, bound, machine, steps
from tvm_c4n._tvm import IRModule, name_of, relax, tvm
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.ops.slots import with_slots
from tvm_c4n.pruning.recipe import Choice


def fused(
    removed: Sequence[int], dtype: str = "int8", others: Sequence[Choice] = ()
) -> tuple[ModelConfig, IRModule]:
    """A small Mamba with one region a layer; `removed` and `others` (see `bound`) by layer."""
    config, mod = bound(192, dtype, hidden=128, removed=removed, others=others)
    return config, FuseRegions(CHOOSE)(mod)


def only(mod: IRModule, function: str) -> IRModule:
    """One of a module's functions, and what it calls."""
    others = {"step", "prefill", "score", "batch_step"} - {function}
    kept = IRModule({g: f for g, f in mod.functions_items() if name_of(g) not in others})
    return relax.transform.DeadCodeElimination()(kept)


def calls(mod: IRModule, function: str, name: str) -> int:
    """How many calls of kernels with this word in their name a function has."""
    counts = count_calls(only(mod, function))
    return sum(count for key, count in counts.items() if name in key)


# dt_proj has few columns: with n=0 it takes floats, else int8 of one group, and no int8 of floats.
MIXTURE = (Choice(0, "float16"), Choice(0, "int8"), Choice(1, "int8"), Choice(0, "int4"))


@pytest.mark.parametrize(
    ("dtype", "removed", "others"),
    [
        ("int4", (3, 3), ()),
        ("int4", (0, 0, 0, 0), MIXTURE),
        pytest.param("float16", (0, 0, 0, 0), MIXTURE, marks=pytest.mark.slow),
        pytest.param("int4", (3, 0, 3), (), marks=pytest.mark.slow),
        pytest.param("float16", (2, 2, 2), (), marks=pytest.mark.slow),
        pytest.param("int8", (2, 2), (), marks=pytest.mark.slow),
    ],
)
def test_a_step_is_one_kernel_with_the_same_numbers(
    dtype: str, removed: tuple[int, ...], others: tuple[Choice, ...]
) -> None:
    config, before = fused(removed, dtype, others)
    assert calls(before, "step", "region") == len(removed) + 1  # the head is one, too
    after = RollLayers()(before)
    relax.analysis.well_formed(after)  # raises
    assert calls(after, "step", "layers") == 1
    assert calls(after, "step", "region") == 1
    tokens = [3, 1, 4, 1, 5, 9, 2, 6]
    machines = [machine(only(mod, "step")) for mod in (before, after)]
    for threads in (1, 2):
        tvm.get_global_func("runtime.config_threadpool")(0, threads)
        (expected, expected_states), (found, found_states) = (
            steps(config, vm, tokens) for vm in machines
        )
        np.testing.assert_array_equal(found, expected)
        for ours, theirs in zip(found_states, expected_states, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("layers", "loops", "regions"),
    [
        pytest.param(("both",) * 3, 1, 0, marks=pytest.mark.slow),
        pytest.param(("attention",) * 2, 1, 0, marks=pytest.mark.slow),
        (("mixer", "mixer", "mixer", "attention", "mixer", "mixer"), 2, 1),
    ],
)
def test_layers_of_several_parts_are_rolled(
    layers: tuple[str, ...], loops: int, regions: int
) -> None:
    """A layer is a mixer, attention or both, then an MLP: one region, whatever its sums."""
    before = small_hybrid.bound(layers)
    after = RollLayers()(FuseRegions(CHOOSE)(before))
    relax.analysis.well_formed(after)  # raises
    assert calls(after, "step", "layers") == loops
    assert calls(after, "step", "region") == regions
    for threads in (1, 2):
        tvm.get_global_func("runtime.config_threadpool")(0, threads)
        expected, found = (
            small_hybrid.steps(machine(mod), len(layers), 70) for mod in (before, after)
        )
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert found[1].tolist() == [70]


def test_equal_layers_share_their_code() -> None:
    mod = RollLayers()(fused((0, 3, 0, 3), "int4")[1])
    (kernel,) = (f for g, f in mod.functions_items() if name_of(g) == "layers")
    assert str(kernel.attrs["c4n.region"]).split(" ").count("conv1d") == 2


def test_other_functions_read_the_same_block() -> None:
    config, before = fused((3, 3))
    after = RollLayers()(before)

    def score(mod: IRModule) -> np.ndarray:
        vm = machine(only(mod, "score"))
        states = [tvm.runtime.tensor(np.zeros(s, np.float32)) for s in config.state_shapes()]
        tokens = tvm.runtime.tensor(np.array([3, 1, 4, 1, 5], np.int32))
        return np.asarray(vm["score"](tokens, *states)[0].numpy())

    np.testing.assert_array_equal(score(after), score(before))

    def weights(mod: IRModule) -> list[Any]:
        return list(LiftConstants()(mod).attrs["c4n.constants"])

    def total(mod: IRModule) -> int:
        return sum(w.numpy().nbytes for w in weights(mod))

    assert len(weights(after)) < 8 < len(weights(before))
    padding = 64 * len(weights(before))
    assert total(after) < total(before) + padding


@pytest.mark.slow  # tests/runtime/test_batch.py runs such steps in the quick tests
@pytest.mark.parametrize("removed", [(2, 2), (3, 0, 3)])
def test_a_batched_step_is_one_kernel_that_reads_the_same_block(removed: tuple[int, ...]) -> None:
    config, before = bound(192, "int4", hidden=128, removed=removed, batch=8)
    after = RollLayers()(FuseRegions(CHOOSE)(before))
    relax.analysis.well_formed(after)  # raises
    lifted = LiftConstants()(after).attrs["c4n.constants"]
    arenas = [w for w in lifted if str(w.dtype) == "uint8" and len(w.shape) == 1]
    assert calls(after, "step", "layers") == calls(after, "batch_step", "layers") == 1
    assert len(arenas) == 1
    slots, active = 3, np.array([2, 0], np.int32)
    # Two tokens have a slot, one fills up.
    tokens = np.array([7, 3, 0], np.int32)

    def run(mod: IRModule) -> list[np.ndarray]:
        states = [
            np.full(with_slots(shape, slots), 0.5, np.float32) for shape in config.state_shapes()
        ]
        given = [tvm.runtime.tensor(a) for a in (tokens, active, *states)]
        logits = machine(only(mod, "batch_step"))["batch_step"](*given)[0].numpy()
        return [logits[:2], *(tensor.numpy() for tensor in given[2:])]

    for threads in (1, 2):
        tvm.get_global_func("runtime.config_threadpool")(0, threads)
        for ours, theirs in zip(run(after), run(before), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def chain(weights: Sequence[Any], numbers: Sequence[int], extra: str = "") -> IRModule:
    """Calls of a region after each other; `extra` says what else reads the first one's result."""
    bb = relax.BlockBuilder()
    x = relax.Var("x", ROW)
    with bb.function("main", [x]):
        with bb.dataflow():
            gvar, value, rows, tuples = bb.add_func(turn, "turn"), x, [], []
            for weight, number in zip(weights, numbers, strict=True):
                inputs = [value, relax.const(weight), relax.prim_value(number)]
                both = bb.emit(relax.call_tir(gvar, inputs, [ROW, WORK]))
                value = bb.emit(relax.TupleGetItem(both, 0))
                tuples.append(both)
                rows.append(value)
            outputs: list[Any] = [value]
            if extra == "row":
                outputs.append(rows[0])
            elif extra == "tuple":
                outputs.append(tuples[0])
            elif extra == "sum":
                outputs.append(bb.emit(relax.op.add(rows[0], value)))
            elif extra == "last":
                outputs.append(bb.emit(relax.TupleGetItem(tuples[-1], 1)))
            out = bb.emit_output(relax.Tuple(outputs))
        bb.emit_func_output(out)
    return relax.transform.CanonicalizeBindings()(bb.get())


@pytest.mark.parametrize(
    ("numbers", "extra", "left"),
    [
        ((5, 6, 7), "", 0),
        ((0, 1, 2), "last", 0),
        ((5, 6, 8), "", 1),  # two are rolled
        ((5, 5, 5), "", 3),
        ((7, 6, 5), "", 3),
        ((5,), "", 1),
        ((5, 6, 7), "row", 1),
        ((5, 6, 7), "tuple", 1),
        ((5, 6, 7), "sum", 1),
    ],
)
def test_what_is_visible_elsewhere_or_does_not_count_up_stays(
    numbers: tuple[int, ...], extra: str, left: int
) -> None:
    before = chain(TURNS[: len(numbers)], numbers, extra)
    after = RollLayers()(before)
    relax.analysis.well_formed(after)  # raises
    assert calls(after, "main", "turn") == left

    def run(mod: IRModule) -> list[np.ndarray]:
        vm = machine(mod)
        x = np.linspace(-1, 1, 8, dtype=np.float32)[None]
        found: list[np.ndarray] = []
        pending = list(vm["main"](tvm.runtime.tensor(x)))
        while pending:
            value = pending.pop()
            if hasattr(value, "numpy"):
                found.append(value.numpy())
            else:
                pending += list(value)
        return found

    for ours, theirs in zip(run(after), run(before), strict=True):
        if extra != "tuple":  # its workspace has the numbers of another turn
            np.testing.assert_array_equal(ours, theirs)


def test_one_weight_for_all_layers_is_no_part_of_the_block() -> None:
    shared = TURNS[0]
    bb = relax.BlockBuilder()
    x = relax.Var("x", ROW)
    with bb.function("main", [x]):
        with bb.dataflow():
            gvar, weight, value = bb.add_func(turn, "turn"), relax.const(shared), x
            for number in range(3):
                inputs = [value, weight, relax.prim_value(number)]
                both = bb.emit(relax.call_tir(gvar, inputs, [ROW, WORK]))
                value = bb.emit(relax.TupleGetItem(both, 0))
            out = bb.emit_output(value)
        bb.emit_func_output(out)
    before = bb.get()
    tvm.ir.assert_structural_equal(RollLayers()(before), before)
