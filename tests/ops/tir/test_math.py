"""The float32 functions of kernels against numpy's float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.ops.compiled import call
from tvm_c4n.ops import tir
from tvm_c4n.ops.spec import RmsNormSpec


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
