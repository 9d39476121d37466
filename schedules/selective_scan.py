"""Selective scan: a vector of channels carries its N state elements through time."""

from __future__ import annotations

from typing import Any

from schedules.base import channel_blocks
from schedules.intrin.base import Intrinsics
from tvm_c4n._tvm import T
from tvm_c4n.ops import selective_scan
from tvm_c4n.ops.spec import OpSpec, ScanSpec
from tvm_c4n.ops.tir import Kernel, exp, load, local, loop, silu, softplus, splat, store, tokens_of


class SelectiveScan:
    """Channels in vectors (in parallel where there is enough work), time in sequence."""

    name = "selective_scan"

    def __call__(self, spec: OpSpec, intrin: Intrinsics) -> Kernel | None:
        """See `schedules.base.Rule`."""
        if not isinstance(spec, ScanSpec):
            return None

        def body() -> None:
            tokens = tokens_of(spec)
            dt, x, bc, xz, a, d, state, layer, out = selective_scan.declare(spec, tokens)

            def block(start: Any, lanes: int) -> None:
                if not spec.dynamic:
                    # One token: the state is read and written once, where it is.
                    token(0, start, lanes, (state, (layer,), start))
                    return
                h = local((spec.state, lanes))
                for n in range(spec.state):
                    store(h, (n,), 0, lanes, load(state, (layer, n), start, lanes))
                with loop(tokens) as t:
                    token(t, start, lanes, (h, (), 0))
                for n in range(spec.state):
                    store(state, (layer, n), start, lanes, load(h, (n,), 0, lanes))

            def token(t: Any, start: Any, lanes: int, place: tuple[Any, Any, Any]) -> None:
                h, outer, first = place
                total = local((lanes,))
                delta = T.bind(softplus(load(dt, (t,), start, lanes), lanes))
                value = T.bind(load(x, (t,), start, lanes))
                drive = T.bind(delta * value)
                store(total, (), 0, lanes, load(d, (), start, lanes) * value)
                with T.serial(spec.state) as n:
                    decay = exp(delta * load(a, (n,), start, lanes), lanes)
                    b = splat(bc[t, spec.dt_rank + n], lanes)
                    c = splat(bc[t, spec.dt_rank + spec.state + n], lanes)
                    new = T.bind(decay * load(h, (*outer, n), first, lanes) + drive * b)
                    store(h, (*outer, n), first, lanes, new)
                    store(total, (), 0, lanes, load(total, (), 0, lanes) + c * new)
                gate = silu(load(xz, (t,), spec.channels + start, lanes), lanes)
                store(out, (t,), start, lanes, load(total, (), 0, lanes) * gate)

            channel_blocks(spec.channels, intrin.lanes, emit=block)

        return Kernel(spec, "selective_scan", body)
