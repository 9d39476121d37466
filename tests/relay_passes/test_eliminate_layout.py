"""Layout elimination: what goes, what stays and why, what a reduction is spared."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from relay_passes import DecomposeLayoutOps, EliminateLayout
from relay_passes.layout_report import count_layout
from relay_passes.pipeline import Pipeline, lowering_phases
from tests.zoo import ZOO
from tvm_c4n._tvm import IRModule, Target, relax, tirx, tvm
from tvm_c4n.compile.build import build

OP = relax.op
RNG = np.random.default_rng(0)
T = relax.transform
TARGET = Target({"kind": "llvm"})


def module(shape: tuple[Any, ...], body: Callable[[Any, Any], Any]) -> IRModule:
    """A function of one tensor; `body` gets the BlockBuilder's emit and the tensor."""
    bb = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType(shape, "float32"))
    with bb.function("main", [x]):
        with bb.dataflow():
            out = bb.emit_output(body(bb.emit, x))
        bb.emit_func_output(out)
    return bb.get()


def kernels(mod: IRModule) -> IRModule:
    """TVM's legalised and fused kernels."""
    passes = [DecomposeLayoutOps(), T.LegalizeOps(), T.AnnotateTIROpPattern(), T.FoldConstant()]
    with TARGET:
        return tvm.transform.Sequential([*passes, T.FuseOps(), T.FuseTIR()])(mod)


def run(mod: IRModule, x: np.ndarray) -> np.ndarray:
    executable = relax.build(mod, TARGET, relax_pipeline=Pipeline.of(lowering_phases()))
    return relax.VirtualMachine(executable, tvm.cpu())["main"](tvm.runtime.tensor(x)).numpy()


def turn_matmul(emit: Any, x: Any) -> Any:
    """Attention's scores: heads to the front, keys turned."""
    heads = emit(OP.permute_dims(emit(OP.reshape(x, (1, 6, 2, 4))), [0, 2, 1, 3]))
    return OP.matmul(heads, emit(OP.permute_dims(heads, [0, 1, 3, 2])))


def matmul_turn(emit: Any, x: Any) -> Any:
    """Attention's output: heads joined after a reduction."""
    heads = emit(OP.permute_dims(emit(OP.reshape(x, (1, 6, 2, 4))), [0, 2, 1, 3]))
    weights = emit(
        OP.nn.softmax(emit(OP.matmul(heads, emit(OP.permute_dims(heads, [0, 1, 3, 2])))))
    )
    out = emit(OP.permute_dims(emit(OP.matmul(weights, heads)), [0, 2, 1, 3]))
    return OP.reshape(out, (6, 8))


def roll(emit: Any, x: Any) -> Any:
    """Two rolls of a plane (the pair that TVM would simplify wrongly), then windows."""
    plane = emit(OP.reshape(x, (4, 4, 3)))
    for axis in (0, 1):
        places = relax.const(np.roll(np.arange(4), -2))
        plane = emit(OP.take(plane, places, axis=axis))
    windows = emit(OP.permute_dims(emit(OP.reshape(plane, (2, 2, 2, 2, 3))), [0, 2, 1, 3, 4]))
    return OP.add(emit(OP.reshape(windows, (16, 3))), relax.const(1.0, "float32"))


def pieces(emit: Any, x: Any) -> Any:
    """A gate: split, and one half by the other."""
    both = emit(OP.split(x, 2, axis=-1))
    left, right = emit(relax.TupleGetItem(both, 0)), emit(relax.TupleGetItem(both, 1))
    return OP.multiply(left, emit(OP.sigmoid(right)))


def join(emit: Any, x: Any) -> Any:
    """Slices put together in another order, then used."""
    first, second = (emit(OP.strided_slice(x, [1], [a], [a + 4])) for a in (0, 4))
    return OP.exp(emit(OP.concat([second, first], axis=1)))


ALL_GO: dict[str, tuple[tuple[int, ...], Callable[[Any, Any], Any]]] = {
    "turn_matmul": ((6, 8), turn_matmul),
    "matmul_turn": ((6, 8), matmul_turn),
    "roll": ((16, 3), roll),
    "pieces": ((5, 8), pieces),
    "join": ((5, 8), join),
}


@pytest.mark.parametrize("name", ALL_GO)
def test_every_copy_becomes_index_maths(name: str) -> None:
    shape, body = ALL_GO[name]
    mod = module(shape, body)
    before = kernels(mod)
    assert count_layout(before)["copies"] > 0
    after = EliminateLayout()(before)
    assert count_layout(after)["copies"] == 0
    relax.analysis.well_formed(after)  # raises
    x = RNG.normal(size=shape).astype(np.float32)
    plain = relax.VirtualMachine(relax.build(mod, TARGET), tvm.cpu())["main"]
    expected = plain(tvm.runtime.tensor(x)).numpy()  # TVM's own build: no pass of ours
    np.testing.assert_allclose(run(after, x), expected, rtol=1e-6, atol=1e-6)
    tvm.ir.assert_structural_equal(EliminateLayout()(after), after)


N = tirx.Var("n", "int64")


def dynamic_attention(emit: Any, x: Any) -> Any:
    """Attention over a symbolic number of tokens, as torch.export brings it: batches of heads."""
    qkv = emit(OP.reshape(x, (1, N, 3, 2, 2)))
    q, k, v = (emit(OP.strided_slice(qkv, [2], [i], [i + 1])) for i in range(3))
    q, k, v = (emit(OP.permute_dims(emit(OP.squeeze(p, [2])), [0, 2, 1, 3])) for p in (q, k, v))
    q, v = (emit(OP.reshape(p, (2, N, 2))) for p in (q, v))
    k = emit(OP.reshape(emit(OP.permute_dims(k, [0, 1, 3, 2])), (2, 2, N)))
    weights = emit(OP.nn.softmax(emit(OP.matmul(q, k))))
    out = emit(OP.reshape(emit(OP.matmul(weights, v)), (1, 2, N, 2)))
    return OP.reshape(emit(OP.permute_dims(out, [0, 2, 1, 3])), (N, 4))


DYNAMIC: dict[str, tuple[tuple[Any, ...], Callable[[Any, Any], Any]]] = {
    "attention": ((1, N, 12), dynamic_attention),
    "merge": ((N, 2, 3), lambda emit, x: OP.exp(emit(OP.reshape(x, (N * 6,))))),
    "split": ((N, 6), lambda emit, x: OP.exp(emit(OP.reshape(x, (N, 2, 3))))),
    "merge, then turn": (
        (1, N, 2, 3),
        lambda emit, x: OP.exp(emit(OP.permute_dims(emit(OP.reshape(x, (N, 6)))))),
    ),
}


@pytest.mark.parametrize("name", DYNAMIC)
def test_copies_of_a_symbolic_length_become_index_maths_too(name: str) -> None:
    shape, body = DYNAMIC[name]
    mod = module(shape, body)
    after = EliminateLayout()(kernels(mod))
    assert count_layout(after)["copies"] == 0
    relax.analysis.well_formed(after)  # raises
    plain = relax.VirtualMachine(relax.build(mod, TARGET), tvm.cpu())["main"]
    for n in (1, 2, 7):
        size = [n if isinstance(d, tirx.Var) else d for d in shape]
        x = RNG.normal(size=size).astype(np.float32)
        expected = plain(tvm.runtime.tensor(x)).numpy()
        np.testing.assert_allclose(run(after, x), expected, rtol=1e-6, atol=1e-6)


def test_a_reshape_that_no_static_number_divides_is_left_to_tvm() -> None:
    m = tirx.Var("m", "int64")
    mod = module((N, m), lambda emit, x: OP.exp(emit(OP.reshape(x, (m, N)))))
    after = EliminateLayout()(kernels(mod))
    x = RNG.normal(size=(2, 3)).astype(np.float32)
    np.testing.assert_allclose(run(after, x), np.exp(x.reshape(3, 2)), rtol=1e-6)


def stays(tmp_path: Path, mod: IRModule) -> tuple[IRModule, list[dict[str, Any]]]:
    after = EliminateLayout(tmp_path / "layout.json")(kernels(mod))
    return after, json.loads((tmp_path / "layout.json").read_text())["stays"]


def test_a_copy_of_an_argument_stays(tmp_path: Path) -> None:
    after, left = stays(tmp_path, module((3, 5), lambda _, x: OP.permute_dims(x)))
    assert count_layout(after)["kernels"] == 1
    assert [entry["why"] for entry in left] == [
        "copies an argument of the function, or another compiler's result"
    ]
    assert left[0]["bytes"] == 60


def test_a_reduction_is_spared_divisions(tmp_path: Path) -> None:
    def body(emit: Any, x: Any) -> Any:
        # The matmul's reduction axis is (head, column): reading by index would divide by 4.
        turned = emit(OP.permute_dims(emit(OP.reshape(x, (2, 6, 4))), [1, 0, 2]))
        return OP.matmul(emit(OP.reshape(turned, (6, 8))), relax.const(np.ones((8, 3), np.float32)))

    after, left = stays(tmp_path, module((12, 4), body))
    assert count_layout(after)["kernels"] == 1
    assert len(left) == 1


def test_a_reduction_reads_in_the_order_of_memory(tmp_path: Path) -> None:
    """The kernel before it writes as the copy would have, instead of the matmul reading askew."""

    def body(emit: Any, x: Any) -> Any:
        turned = emit(OP.permute_dims(emit(OP.exp(x))))
        return OP.matmul(turned, relax.const(np.ones((6, 3), np.float32)))

    mod = module((6, 8), body)
    t = [DecomposeLayoutOps(), T.LegalizeOps()]  # not fused: exp and the transpose are kernels
    after = EliminateLayout(tmp_path / "layout.json")(tvm.transform.Sequential(t)(mod))
    assert count_layout(after)["copies"] == 0
    (went,) = json.loads((tmp_path / "layout.json").read_text())["went"]
    assert went["became index maths in"] == ["tir_exp"]
    x = RNG.normal(size=(6, 8)).astype(np.float32)
    np.testing.assert_allclose(run(after, x), np.exp(x).T @ np.ones((6, 3)), rtol=1e-5)


def test_two_kernels_take_a_transpose_over_through_one_view() -> None:
    def body(emit: Any, x: Any) -> Any:
        view = emit(OP.reshape(emit(OP.permute_dims(x)), (8, 5, 1)))
        return OP.add(emit(OP.exp(view)), emit(OP.sigmoid(view)))

    mod = module((5, 8), body)
    after = EliminateLayout()(T.LegalizeOps()(mod))  # not fused: four kernels
    assert count_layout(after) == {"kernels": 0, "copies": 0, "views": 0}
    x = RNG.normal(size=(5, 8)).astype(np.float32)
    expected = (np.exp(x) + 1 / (1 + np.exp(-x))).T[:, :, None]
    np.testing.assert_allclose(run(after, x), expected, rtol=1e-5)


@pytest.mark.parametrize(("heads", "copies"), [(2, 0), (16, 1)])
def test_a_reduction_takes_no_longer_steps(heads: int, copies: int) -> None:
    """The values of attention: a copy puts them side by side, in `x` they are a row apart."""

    def body(emit: Any, x: Any) -> Any:
        parted = emit(OP.reshape(x, (6, heads, 4)))
        turned = emit(OP.permute_dims(parted, [1, 0, 2]))
        weights = emit(OP.matmul(turned, emit(OP.permute_dims(parted, [1, 2, 0]))))
        return OP.matmul(weights, turned)

    after = EliminateLayout()(kernels(module((6, 4 * heads), body)))
    assert count_layout(after)["copies"] == copies


def test_a_choice_that_the_data_makes_is_no_copy() -> None:
    body = lambda _, x: OP.where(OP.greater(x, relax.const(0.0)), x, relax.const(0.0))  # noqa: E731
    mod = relax.transform.Normalize()(module((4, 6), body))
    assert count_layout(kernels(mod))["copies"] == 0


def test_a_view_stays_a_view(tmp_path: Path) -> None:
    after, left = stays(tmp_path, module((6, 4), lambda _, x: OP.reshape(x, (4, 6))))
    assert count_layout(after) == {"kernels": 0, "copies": 0, "views": 1}
    assert left == []


def test_two_transposes_that_undo_each_other_are_a_view(tmp_path: Path) -> None:
    def body(emit: Any, x: Any) -> Any:
        there = emit(OP.permute_dims(emit(OP.nn.softmax(x)), [1, 0, 2]))
        back = emit(OP.permute_dims(emit(OP.permute_dims(there, [1, 0, 2])), [0, 2, 1]))
        return OP.exp(emit(OP.permute_dims(back, [0, 2, 1])))

    after, _ = stays(tmp_path, module((3, 4, 5), body))
    assert count_layout(after)["copies"] == 0


def test_a_symbolic_length_is_no_obstacle_to_elementwise_readers() -> None:
    n = tirx.Var("n", "int64")
    body = lambda emit, x: OP.exp(emit(OP.permute_dims(x)))  # noqa: E731
    after = EliminateLayout()(kernels(module((n, 4), body)))
    assert count_layout(after)["copies"] == 0
    x = RNG.normal(size=(7, 4)).astype(np.float32)
    np.testing.assert_allclose(run(after, x), np.exp(x.T), rtol=1e-6)


def test_the_report_says_what_was_and_what_is(tmp_path: Path) -> None:
    build(ZOO["attention_onnx"](2, False).mod, debug_dump=tmp_path)
    report = json.loads((tmp_path / "layout.json").read_text())
    assert set(report) == {"was", "is", "went", "stays"}
    assert report["is"]["kernels"] == len(report["stays"]) <= report["was"]["kernels"] / 2
    for entry in report["stays"]:
        assert any(word in entry["why"] for word in ("linear", "order", "read elsewhere"))
    assert all(entry["became index maths in"] for entry in report["went"])
