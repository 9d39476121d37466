"""Models in ONNX, written with its own helpers."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.zoo.case import Case, thin


def _convert(nodes: list, weights: dict, x: np.ndarray, shape: list[int]) -> Case:
    from tvm.relax.frontend.onnx import from_onnx

    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return Case(from_onnx(model), [x])


def gemm_onnx(removed: int, large: bool) -> Case:
    """Gemm with and without ``transB``, with alpha and a bias."""
    rng = np.random.default_rng(0)
    wide, tokens = (384, 16) if large else (40, 3)
    first = thin(rng.standard_normal((wide, wide)).astype(np.float32), removed)
    second = thin(rng.standard_normal((24, wide)).astype(np.float32), removed)
    weights = {
        "first": first,
        "second": np.ascontiguousarray(second.T),
        "bias": rng.standard_normal(wide).astype(np.float32),
    }
    nodes = [
        helper.make_node("Gemm", ["x", "first", "bias"], ["a"], transB=1),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Gemm", ["b", "second"], ["y"], alpha=0.5),
    ]
    x = rng.standard_normal((tokens, wide)).astype(np.float32)
    return _convert(nodes, weights, x, [tokens, 24])


def attention_onnx(removed: int, large: bool) -> Case:
    """Attention as exporters write it: MatMul, Split, Reshape, Transpose, Softmax."""
    rng = np.random.default_rng(1)
    heads, wide, tokens = (8, 128, 64) if large else (2, 16, 5)
    per_head = wide // heads
    qkv = thin(rng.standard_normal((3 * wide, wide)).astype(np.float32), removed)
    out = thin(rng.standard_normal((wide, wide)).astype(np.float32), removed)
    weights = {
        "qkv": np.ascontiguousarray(qkv.T) / np.float32(wide**0.5),
        "out": np.ascontiguousarray(out.T) / np.float32(wide**0.5),
        "heads": np.array([1, tokens, heads, per_head]),
        "joined": np.array([1, tokens, wide]),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "qkv"], ["all"]),
        helper.make_node("Split", ["all"], ["q0", "k0", "v0"], axis=2),
    ]
    for name, perm in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        nodes.append(helper.make_node("Reshape", [f"{name}0", "heads"], [f"{name}1"]))
        nodes.append(helper.make_node("Transpose", [f"{name}1"], [name], perm=perm))
    nodes += [
        helper.make_node("MatMul", ["q", "k"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["p"], axis=-1),
        helper.make_node("MatMul", ["p", "v"], ["o"]),
        helper.make_node("Transpose", ["o"], ["t"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["t", "joined"], ["j"]),
        helper.make_node("MatMul", ["j", "out"], ["m"]),
        helper.make_node("Add", ["m", "x"], ["y"]),
    ]
    x = rng.standard_normal((1, tokens, wide)).astype(np.float32)
    return _convert(nodes, weights, x, [1, tokens, wide])
