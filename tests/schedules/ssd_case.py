"""Random arguments of Mamba-2's scan, and what float64 makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tvm_c4n.ops import ssd_scan
from tvm_c4n.ops.spec import SsdSpec

LAYER = 1


@dataclass(frozen=True)
class SsdCase:
    """Arguments by name, in the order of the kernel's, and the oracle's results."""

    spec: SsdSpec
    named: dict[str, Any]
    y: np.ndarray
    state: np.ndarray

    @property
    def arguments(self) -> list[Any]:
        """The values alone."""
        return list(self.named.values())

    def check(self, found: list[Any]) -> None:
        """Compare with the arguments after a call."""
        state, before = found[7], self.named["state"]
        np.testing.assert_allclose(found[-1], self.y, rtol=1e-4, atol=1e-4)
        # float16 has 11 bits.
        bound = 2**-11 if self.spec.half else 1e-4
        now = state.view("f2") if self.spec.half else state
        np.testing.assert_allclose(now[LAYER], self.state, rtol=bound, atol=1e-5 + bound / 4)
        np.testing.assert_array_equal(state[0], before[0])


def make(spec: SsdSpec, tokens: int, seed: int = 0) -> SsdCase:
    """Make a case whose deltas reach both tails of softplus, and its limits."""
    rng = np.random.default_rng(seed)
    widths = (spec.inner, spec.bc_width, 2 * spec.inner, spec.bc_width + spec.heads)
    x, bc, zx, bcdt = (rng.normal(size=(tokens, width)).astype("f4") for width in widths)
    dt = bcdt[:, spec.bc_width :]
    dt *= 3
    dt[0, -1], dt[-1, 0] = 40, -40
    a, bias, d = rng.normal(size=(3, spec.heads)).astype("f4")
    a = -np.exp(a)
    state = rng.normal(size=(2, spec.heads, spec.state, spec.head_dim))
    state = state.astype("f2" if spec.half else "f4")
    y, h = ssd_scan.oracle(spec, x, bc, zx[:, : spec.inner], dt, a, bias, d, state[LAYER])
    named = {
        "x": x,
        "bc": bc,
        "zx": zx,
        "bcdt": bcdt,
        "a": a,
        "dt_bias": bias,
        "d": d,
        "state": state.view("u2") if spec.half else state,
        "layer": LAYER,
        "out": np.zeros((tokens, spec.inner), "f4"),
    }
    return SsdCase(spec, named, y, h)
