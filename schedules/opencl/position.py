"""The position of a text: its rotations, and how it moves on."""

from __future__ import annotations

from schedules.opencl.grid import GROUP, grid
from tvm_c4n._tvm import T
from tvm_c4n.ops import advance as advancing
from tvm_c4n.ops import rotary as rotating
from tvm_c4n.ops.spec import AdvanceSpec, RotarySpec
from tvm_c4n.ops.tir import Kernel, tokens_of


def rotary(spec: RotarySpec) -> Kernel:
    """Return the kernel of rotations: a work-item for each pair of elements."""

    def body() -> None:
        tokens = tokens_of(spec)
        args = rotating.declare(spec, tokens)
        with grid(-(-spec.rotary // 2 // GROUP), tokens) as (work_group, token, item):
            pair = work_group * GROUP + item
            with T.If(pair < spec.rotary // 2), T.Then():
                rotating.turn(spec, args, token, pair)

    return Kernel(spec, "opencl_rotary", body)


def advance(spec: AdvanceSpec) -> Kernel:
    """Return the kernel that adds a call's tokens: one work-item."""

    def body() -> None:
        tokens = tokens_of(spec)
        args = advancing.declare(spec, tokens)
        with grid(1, 1) as (_group, _token, item), T.If(item == 0), T.Then():
            advancing.add(spec, args, tokens)

    return Kernel(spec, "opencl_advance", body)
