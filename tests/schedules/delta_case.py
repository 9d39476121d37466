"""Random arguments of the gated delta rule, and what float64 makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tvm_c4n.ops import delta_rule
from tvm_c4n.ops.spec import DeltaSpec

LAYER = 1


@dataclass(frozen=True)
class DeltaCase:
    """Arguments by name, in the order of the kernel's, and the oracle's results."""

    spec: DeltaSpec
    named: dict[str, Any]
    y: np.ndarray
    state: np.ndarray

    @property
    def arguments(self) -> list[Any]:
        """The values alone."""
        return list(self.named.values())

    def check(self, found: list[Any]) -> None:
        """Compare with the arguments after a call."""
        state, before = found[5], self.named["state"]
        np.testing.assert_allclose(found[-1], self.y, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(state[LAYER], self.state, rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(state[0], before[0])


def make(spec: DeltaSpec, tokens: int, seed: int = 0) -> DeltaCase:
    """Make a case with decays and shares of all sizes, and a key that is all zeros."""
    rng = np.random.default_rng(seed)
    qkv = rng.normal(size=(tokens, 2 * spec.keys + spec.inner)).astype("f4")
    qkv[-1, spec.keys :][: spec.key_dim] = 0
    alpha, beta = 3 * rng.normal(size=(2, tokens, spec.heads)).astype("f4")
    alpha[0, -1], alpha[-1, 0], beta[0, 0] = 40, -40, -40
    a, bias = rng.normal(size=(2, spec.heads)).astype("f4")
    a = -np.exp(a)
    state = rng.normal(size=(2, spec.heads, spec.key_dim, spec.head_dim)).astype("f4")
    y, h = delta_rule.oracle(spec, qkv, alpha, beta, a, bias, state[LAYER])
    named = {
        "qkv": qkv,
        "alpha": alpha,
        "beta": beta,
        "a": a,
        "dt_bias": bias,
        "state": state,
        "layer": LAYER,
        "out": np.zeros((tokens, spec.inner), "f4"),
    }
    return DeltaCase(spec, named, y, h)
