"""A parallel loop whose iterations the threads take in chunks, each at its own pace.

Each thread has its even part of the loop, as `CHUNKS` chunks that get smaller. It takes them from a
counter of its own, and then those that the other threads have left.
"""

from __future__ import annotations

from math import prod
from typing import Any

from tvm_c4n._tvm import AllocBuffer, Bind, For, ForKind, SeqStmt, T, TensorStore, While, tirx

# Chunks of a part: the first one is a fifth of it, the last one a hundredth, which is about how
# long the other threads wait for the one that took it.
CHUNKS = 10
# Counters of one thread, int32, begin at a multiple of a cache line.
LINE_COUNTERS = 16
# Threads of a larger pool than this take no part.
MOST_THREADS = 64
# What marks the loop over threads, so that it is not taken apart again.
TAKEN = "c4n.taken"

# Code that TIR cannot say: it has no atomics for CPUs. Whoever has all chunks of a part reads the
# counter only, so that the line stays with those who look at it.
TAKE = "c4n_take"
TAKE_LLVM = f"""
define i32 @{TAKE}(ptr %counter) {{
entry:
  %seen = load atomic i32, ptr %counter monotonic, align 4
  %some = icmp slt i32 %seen, {CHUNKS}
  br i1 %some, label %take, label %none
take:
  %taken = atomicrmw add ptr %counter, i32 1 monotonic, align 4
  ret i32 %taken
none:
  ret i32 %seen
}}
"""


class Counters:
    """The counters of all loops of one launch, which the thread that launches sets to 0 before.

    A loop has one for each thread and for each time that it runs, and each launch has its own: none
    needs to be reset while another thread may look at it.

    Attributes
    ----------
    threads : tirx.Var
        The pool's, at most `MOST_THREADS`.
    """

    def __init__(self) -> None:
        self.threads = tirx.Var("threads", "int32")
        self._loops: list[tuple[Any, int]] = []

    def of_a_loop(self, owner: Any, outer: tuple[For, ...]) -> Any:
        """Make counters for a loop inside others; returns the address of a thread's one."""
        runs = prod(int(loop.extent) for loop in outer)
        stride = -(-runs // LINE_COUNTERS) * LINE_COUNTERS
        buffer = tirx.decl_buffer((MOST_THREADS * stride,), "int32", "counters", layout=None)
        self._loops.append((buffer, stride))
        run: Any = T.int32(0)
        for loop in outer:
            run = run * int(loop.extent) + T.cast(loop.loop_var, "int32")
        return T.address_of(buffer[owner * stride + run])

    def start(self) -> list[Any]:
        """Return the statements before the launch."""
        pool = tirx.Var("pool", "int32")
        stmts = [
            Bind(pool, T.call_packed("runtime.NumThreads")),
            Bind(self.threads, T.min(pool, T.int32(MOST_THREADS))),
        ]
        for buffer, stride in self._loops:
            place = tirx.Var("place", "int32")
            zero = TensorStore(buffer, T.int32(0), [place])
            zeros = For(place, T.int32(0), self.threads * stride, ForKind.SERIAL, zero)
            stmts += [AllocBuffer(buffer), zeros]
        return stmts


def taken(loop: For, counters: Counters, outer: tuple[For, ...]) -> For:
    """Return a loop over threads that take the iterations of a parallel loop in chunks.

    Any count of threads may run it, whatever `Counters.threads` is: each iteration runs once.

    Parameters
    ----------
    loop : For
        Begins at 0.
    counters : Counters
    outer : tuple of For
        Loops of known extents from 0 around it, inside the launch.
    """
    wide, narrow = "int64", str(loop.loop_var.ty)
    threads, extent = counters.threads, T.cast(loop.extent, wide)
    thread, turn, owner = (tirx.Var(name, "int32") for name in ("thread", "turn", "owner"))
    share, first, size, left, begin, end = (
        tirx.Var(name, wide) for name in ("share", "first", "size", "left", "begin", "end")
    )
    chunk = tirx.decl_buffer((1,), "int32", "chunk", layout=None)
    take = T.call_extern("int32", TAKE, counters.of_a_loop(owner, outer))
    next_chunk = TensorStore(chunk, take, [T.int32(0)])

    # Step 1: a chunk ends where the square of the share of chunks that are left says: each is as
    # much smaller than the one before.
    def end_before(chunks: Any) -> Any:
        return first + size - T.truncdiv(size * chunks * chunks, T.int64(CHUNKS * CHUNKS))

    # Step 2: one chunk after the other, until others have the rest.
    rows = [T.cast(begin, narrow), T.cast(end - begin, narrow)]
    one = [
        Bind(left, T.cast(T.int32(CHUNKS) - chunk[0], wide)),
        Bind(begin, end_before(left)),
        Bind(end, end_before(left - 1)),
        For(loop.loop_var, *rows, ForKind.SERIAL, loop.body),
        next_chunk,
    ]

    # Step 3: parts as TVM splits a loop, the thread's own one first.
    part = [
        Bind(owner, T.truncmod(thread + turn, threads)),
        Bind(first, T.min(T.cast(owner, wide) * share, extent)),
        Bind(size, T.min(share, extent - first)),
        next_chunk,
        While(chunk[0] < T.int32(CHUNKS), SeqStmt(one)),
    ]
    count = T.cast(threads, wide)
    body = [
        Bind(share, T.truncdiv(extent + count - 1, count)),
        AllocBuffer(chunk),
        For(turn, T.int32(0), threads, ForKind.SERIAL, SeqStmt(part)),
    ]
    mark = {TAKEN: CHUNKS}
    return For(thread, T.int32(0), threads, ForKind.PARALLEL, SeqStmt(body), annotations=mark)
