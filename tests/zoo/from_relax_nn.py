"""Models of `tvm.relax.frontend.nn`, their parameters bound."""

from __future__ import annotations

import numpy as np
from tvm.relax.frontend import nn

from tests.zoo.case import Case, thin
from tvm_c4n._tvm import relax, tvm


class _Mlp(nn.Module):
    def __init__(self, wide: int, dtype: str):
        super().__init__()
        self.up = nn.Linear(wide, 2 * wide, dtype=dtype)
        self.down = nn.Linear(2 * wide, wide, bias=False, dtype=dtype)

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        return self.down(nn.op.silu(self.up(x)))


def _bound(wide: int, shape: tuple[int, ...], dtype: str, removed: int) -> Case:
    rng = np.random.default_rng(0)
    spec = {"forward": {"x": nn.spec.Tensor(shape, dtype)}}
    mod, params = _Mlp(wide, dtype).export_tvm(spec)
    values = {}
    for name, param in params:
        array = rng.standard_normal([int(n) for n in param.shape]) / wide**0.5
        array = thin(array, removed) if array.ndim == 2 else array
        values[name] = tvm.runtime.tensor(array.astype(dtype))
    mod = relax.transform.BindParams("forward", values)(mod)
    func = mod["forward"].with_attr("global_symbol", "main")
    x = rng.standard_normal(shape).astype(dtype)
    tolerance = 1e-4 if dtype == "float32" else 5e-3
    return Case(tvm.IRModule({"main": func}), [x], tolerance)


def mlp_nn(removed: int, large: bool) -> Case:
    """Float32, one token."""
    wide = 512 if large else 36
    return _bound(wide, (1, wide), "float32", removed)


def half_nn(removed: int, large: bool) -> Case:
    """Float16 weights and activations."""
    wide, tokens = (256, 8) if large else (36, 5)
    return _bound(wide, (1, tokens, wide), "float16", removed)
