"""The plain definitions against the oracles: the kernels are checked against the same ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tvm_c4n._tvm import IRModule, T, Target, tvm
from tvm_c4n.ops import c4n_linear, conv1d, embedding, quantize, rms_norm, selective_scan, tir
from tvm_c4n.ops.repack import repack
from tvm_c4n.ops.spec import (
    ConvSpec,
    EmbeddingSpec,
    LinearSpec,
    QuantizeSpec,
    RmsNormSpec,
    ScanSpec,
    spec_of,
)
from tvm_c4n.ops.stored import stored_arrays
from tvm_c4n.sparsity import from_dense, mask_from_scores

DTYPES = ["float32", "float16", "int8", "int4"]


def call(func: Any, *arguments: Any) -> list[Any]:
    """Compile a PrimFunc for plain LLVM and call it; returns its arguments afterwards."""
    module = IRModule({"main": func.with_attr("global_symbol", "main")})
    tensors = [a if isinstance(a, int) else tvm.runtime.tensor(a) for a in arguments]
    tvm.compile(module, Target({"kind": "llvm"}))["main"](*tensors)
    return [t if isinstance(t, int) else t.numpy() for t in tensors]


@pytest.mark.parametrize("lanes", [0, 4, 16])
@pytest.mark.parametrize("dtype", DTYPES)
def test_linear_reads_raw_and_packed_weights(dtype: str, lanes: int) -> None:
    rng = np.random.default_rng(0)
    for removed in range(4):
        dense = rng.normal(size=(21, 136)).astype(np.float32)
        mask = mask_from_scores(np.abs(dense), removed) if removed else None
        weight = from_dense(dense, removed, dtype, mask=mask)
        spec = LinearSpec(
            True, 21, 136, removed, dtype, weight.scale_group, lanes, 136, bias=True, residual=True
        )
        x = rng.normal(size=(2, 136)).astype(np.float32)
        first: list[Any] = [x]
        if spec.integer:
            how = QuantizeSpec(True, 136, 64, c4n_linear.padded_cols(spec), 136)
            q, scales = quantize.oracle(x, how)
            first = [q, scales.astype(np.float32)]
            groups = q.reshape(2, -1, 64) * scales[:, :, None]
            x = groups.reshape(2, -1)[:, :136]
        weights = [repack(weight, spec)] if lanes else stored_arrays(weight)
        bias, residual = rng.normal(size=21).astype("f4"), rng.normal(size=(2, 21)).astype("f4")
        out = call(
            c4n_linear.define(spec), *first, *weights, bias, residual, np.zeros((2, 21), "f4")
        )[-1]
        expected = c4n_linear.oracle(x, weight, bias, residual)
        np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("lanes", [0, 8])
@pytest.mark.parametrize("dtype", DTYPES)
def test_embedding_equals_the_rows_of_the_dense_weight(dtype: str, lanes: int) -> None:
    rng = np.random.default_rng(0)
    weight = from_dense(rng.normal(size=(21, 100)).astype(np.float32), 0, dtype)
    spec = EmbeddingSpec(True, 21, 100, dtype, weight.scale_group, lanes)
    ids = np.array([0, 20, 7, 7], np.int32)
    weights = [repack(weight, spec)] if lanes else stored_arrays(weight)
    out = call(embedding.define(spec), ids, *weights, np.zeros((4, 100), "f4"))[-1]
    np.testing.assert_array_equal(out, embedding.oracle(ids, weight))


def test_definitions_of_the_other_operators() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 12)).astype(np.float32)
    weight = rng.normal(size=12).astype(np.float32)
    out = call(rms_norm.define(RmsNormSpec(True, 12, 1e-5)), x, weight, np.zeros((3, 12), "f4"))
    np.testing.assert_allclose(out[-1], rms_norm.oracle(x, weight, 1e-5), rtol=1e-5)

    how = QuantizeSpec(True, 12, 8, 24, 12)
    buffers = np.ones((3, 24), np.int8), np.ones((3, 3), np.float32)
    q, scales = call(quantize.define(how), x, *buffers)[1:]
    np.testing.assert_array_equal(q, quantize.oracle(x, how)[0])
    np.testing.assert_allclose(scales, quantize.oracle(x, how)[1], rtol=1e-6)

    taps, bias = rng.normal(size=(4, 5)).astype("f4"), rng.normal(size=5).astype("f4")
    state = rng.normal(size=(2, 3, 5)).astype(np.float32)
    spec = ConvSpec(True, 5, 4, 2, 12)
    found = call(conv1d.define(spec), x, taps, bias, state, 1, np.zeros((3, 5), "f4"))
    y, new = conv1d.oracle(x[:, :5], taps, bias, state[1])
    np.testing.assert_allclose(found[-1], y, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found[3][1], new.astype(np.float32))
    np.testing.assert_array_equal(found[3][0], state[0])


@pytest.mark.parametrize("half", [False, True])
def test_definition_of_the_scan(half: bool) -> None:
    rng = np.random.default_rng(0)
    dt, x = rng.normal(size=(2, 6, 5)).astype(np.float32)
    bc, xz = rng.normal(size=(6, 2 + 8)).astype("f4"), rng.normal(size=(6, 10)).astype("f4")
    a = -np.exp(rng.normal(size=(4, 5))).astype("f2" if half else "f4")
    d, state = rng.normal(size=5).astype("f4"), rng.normal(size=(2, 4, 5)).astype("f4")
    func = selective_scan.define(ScanSpec(True, 5, 4, 2, 2, half))
    stored = a.view("u2") if half else a
    found = call(func, dt, x, bc, xz, stored, d, state, 1, np.zeros((6, 5), "f4"))
    y, h = selective_scan.oracle(dt, x, bc[:, 2:6], bc[:, 6:], xz[:, 5:], a, d, state[1])
    np.testing.assert_allclose(found[-1], y, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[6][1], h, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("lanes", [1, 8])
def test_vector_functions_are_exact_to_float32(lanes: int) -> None:
    points = np.concatenate([np.linspace(-100, 100, 4001), np.linspace(-1e-3, 1e-3, 95)])
    x = np.resize(points, (len(points) + 7) // 8 * 8).astype(np.float32)

    def body() -> None:
        source = tir.declare_or_bind("x", (len(x),))
        outs = [tir.declare_or_bind(name, (len(x),)) for name in ("e", "s", "g", "p")]
        functions = (tir.exp, tir.softplus, tir.silu, tir.exp2)

        def emit(start: Any, width: int) -> None:
            for out, function in zip(outs, functions, strict=True):
                value = function(tir.load(source, (), start, width), width)
                tir.store(out, (), start, width, value)

        tir.vectors(len(x), lanes, emit)

    func = tir.build(RmsNormSpec(False, 1, 0.0), "vector_functions", body)
    _, e, s, g, p = call(func, x, *(np.zeros_like(x) for _ in range(4)))
    wide = x.astype(np.float64)
    inside = (wide > -87) & (wide < 88)
    np.testing.assert_allclose(e[inside], np.exp(wide[inside]), rtol=3e-7)
    np.testing.assert_allclose(s, np.logaddexp(0, wide), rtol=5e-7, atol=2e-38)
    np.testing.assert_allclose(g[inside], (wide / (1 + np.exp(-wide)))[inside], rtol=5e-7)
    np.testing.assert_allclose(p[wide <= 0], np.exp2(wide[wide <= 0]), rtol=3e-7)


def test_specs_survive_as_attributes() -> None:
    specs = [
        LinearSpec(True, 8, 12, 3, "int4", 64, 16, 20, bias=True),
        QuantizeSpec(False, 12, 64, 64, 12),
        RmsNormSpec(True, 8, 1e-5, True),
        ConvSpec(False, 4, 4, 2, 8),
        ScanSpec(True, 8, 16, 2, 3, half=True),
    ]
    for spec in specs:
        func = tir.build(spec, "f", lambda: T.evaluate(0))
        assert spec_of(func) == spec
    assert spec_of(None) is None
