"""Attention: a work-item for each head of a token goes through the ring.

Other items write to the ring meanwhile. None reads what they write: keys and values of the call's
own tokens are taken from where they come from.
"""

from __future__ import annotations

from typing import Any

from schedules.opencl.grid import GROUP, float_to_half, grid, half_to_float, private
from tvm_c4n._tvm import T
from tvm_c4n.ops import attention as definition
from tvm_c4n.ops import ring
from tvm_c4n.ops.attention import UNSEEN
from tvm_c4n.ops.spec import AttentionSpec
from tvm_c4n.ops.tir import Kernel, tokens_of


def attention(spec: AttentionSpec) -> Kernel:
    """Return the kernel."""
    dim, group, zero = spec.head_dim, spec.heads // spec.kv_heads, T.float32(0)

    def stored(value: Any) -> Any:
        return T.cast(float_to_half(value), "uint16") if spec.half else value

    def read(found: Any) -> Any:
        return half_to_float(T.cast(found, "uint32")) if spec.half else found

    def body() -> None:
        tokens = tokens_of(spec)
        args = definition.declare(spec, tokens)
        with grid(-(-spec.heads // GROUP), tokens) as (work_group, t, item):
            head = work_group * GROUP + item
            query, result = private(dim), private(dim)
            score, total, top = (private(1) for _ in range(3))
            with T.If(head < spec.heads), T.Then():
                kv, outer = T.bind(T.floordiv(head, group)), args.where(0)
                begin = T.bind(ring.first_place(args.position, 0))
                end = T.bind(begin + tokens)

                def key(t: Any, i: Any) -> Any:
                    return definition.rotated(spec, args.k, args.angles, t, kv * dim, i)

                # Step 1: the first head of a group writes keys and values of its token.
                stays = end - begin - t <= spec.context
                with T.If(T.And(T.floormod(head, group) == 0, stays)), T.Then():
                    block, place = ring.slot(spec, begin + t)
                    with T.serial(dim) as i:
                        at = [*outer, kv, block, i, place]
                        T.buffer_store(args.keys, stored(key(t, i)), at)
                        at = [*outer, kv, block, place, i]
                        T.buffer_store(args.values, stored(args.v[t, kv * dim + i]), at)
                # Step 2: the slots that the token sees, from the oldest on.
                with T.serial(dim) as i:
                    turned = definition.rotated(spec, args.q, args.angles, t, head * dim, i)
                    T.buffer_store(query, turned * T.float32(spec.scale), [i])
                    T.buffer_store(result, zero, [i])
                T.buffer_store(total, zero, [0])
                T.buffer_store(top, T.float32(UNSEEN), [0])
                oldest = T.bind(T.max(end - spec.context, T.int64(0)))
                with T.serial(T.max(begin + t + 1 - oldest, T.int64(0))) as n:
                    seen = oldest + n
                    block, place = ring.slot(spec, seen)
                    own = T.max(seen - begin, T.int64(0))
                    T.buffer_store(score, zero, [0])
                    with T.serial(dim) as i:
                        held = args.keys[(*outer, kv, block, i, place)]
                        found = T.if_then_else(seen < begin, held, stored(key(own, i)))
                        T.buffer_store(score, score[0] + query[i] * read(found), [0])
                    higher = T.bind(T.max(top[0], score[0]))
                    keep, weight = T.bind(T.exp(top[0] - higher)), T.bind(T.exp(score[0] - higher))
                    T.buffer_store(top, higher, [0])
                    T.buffer_store(total, total[0] * keep + weight, [0])
                    with T.serial(dim) as i:
                        held = args.values[(*outer, kv, block, place, i)]
                        new = stored(args.v[own, kv * dim + i])
                        found = read(T.if_then_else(seen < begin, held, new))
                        T.buffer_store(result, result[i] * keep + weight * found, [i])
                # Step 3: their mean.
                with T.serial(dim) as i:
                    mean = T.if_then_else(total[0] > zero, result[i] / total[0], zero)
                    if spec.gated:
                        gate = args.gates[t, definition.gate_column(spec, head) + i]
                        mean = mean / (T.float32(1) + T.exp(zero - gate))
                    T.buffer_store(args.out, mean, [t, head * dim + i])

    return Kernel(spec, "opencl_attention", body)
