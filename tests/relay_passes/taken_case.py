"""The case of TakeChunks: two turns of a long loop and a short one."""

from __future__ import annotations

from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from relay_passes.taken_loop import TAKE_LLVM

# What the long loop reads, and the short one does not.
LONG_BYTES = 1280


@I.ir_module(s_tir=True)
class Even:
    """Rows are summed up and doubled, twice."""

    @T.prim_func(private=True, s_tir=True)
    def sums(
        x: T.Buffer((40, 4), "float32", layout=None),
        y: T.Buffer((40,), "float32", layout=None),
        work: T.Buffer((40,), "float32", layout=None),
    ):
        T.func_attr({"op_pattern": 8, "tirx.noalias": True})
        with T.sblock("root"):
            T.reads()
            T.writes()
            with T.attr(T.int32(0), "pragma_parallel_launch_point", 1):
                for turn in range(2):
                    with T.attr(T.int32(0), "pragma_parallel_barrier_when_finish", 1):
                        for i in T.parallel(40):
                            work[i] = T.float32(0)
                            for j in range(4):
                                work[i] = work[i] + x[i, j]
                    with T.attr(T.int32(0), "pragma_parallel_barrier_when_finish", 1):
                        for i in T.parallel(40):
                            y[i] = T.cast(turn + 1, "float32") * work[i]

    @R.function
    def main(x: R.Tensor((40, 4), "float32")) -> R.Tensor((40,), "float32"):
        cls = Even
        with R.dataflow():
            both = R.call_tir(
                cls.sums, (x,), out_ty=[R.Tensor((40,), "float32"), R.Tensor((40,), "float32")]
            )
            gv = both[0]
            R.output(gv)
        return gv


@I.ir_module(s_tir=True)
class Taken:
    """The rows are taken in chunks, the doubling is split."""

    @T.prim_func(private=True, s_tir=True)
    def sums(
        x: T.Buffer((40, 4), "float32", layout=None),
        y: T.Buffer((40,), "float32", layout=None),
        work: T.Buffer((40,), "float32", layout=None),
    ):
        T.func_attr({"op_pattern": 8, "tirx.noalias": True})
        with T.sblock("root"):
            T.reads()
            T.writes()
            with T.attr(T.int32(0), "pragma_import_llvm", TAKE_LLVM):
                pool: T.let[T.int32] = T.call_packed("runtime.NumThreads")
                threads: T.let[T.int32] = T.min(pool, 64)
                counters = T.alloc_buffer((1024,), "int32", layout=None)
                for place in range(threads * 16):
                    counters[place] = 0
                with T.attr(T.int32(0), "pragma_parallel_launch_point", 1):
                    for turn in range(2):
                        with T.attr(T.int32(0), "pragma_parallel_barrier_when_finish", 1):
                            for thread in T.parallel(threads, annotations={"c4n.taken": 10}):
                                share: T.let[T.int64] = T.truncdiv(
                                    T.int64(40) + T.Cast("int64", threads) - T.int64(1),
                                    T.Cast("int64", threads),
                                )
                                chunk = T.alloc_buffer((1,), "int32", layout=None)
                                for part in range(threads):
                                    owner: T.let[T.int32] = T.truncmod(thread + part, threads)
                                    first: T.let[T.int64] = T.min(
                                        T.Cast("int64", owner) * share, T.int64(40)
                                    )
                                    size: T.let[T.int64] = T.min(share, T.int64(40) - first)
                                    chunk[0] = T.call_extern(
                                        "int32",
                                        "c4n_take",
                                        T.address_of(counters[owner * 16 + turn]),
                                    )
                                    while chunk[0] < 10:
                                        left: T.let[T.int64] = T.Cast("int64", 10 - chunk[0])
                                        begin: T.let[T.int64] = (
                                            first
                                            + size
                                            - T.truncdiv(size * left * left, T.int64(100))
                                        )
                                        end: T.let[T.int64] = (
                                            first
                                            + size
                                            - T.truncdiv(
                                                size * (left - T.int64(1)) * (left - T.int64(1)),
                                                T.int64(100),
                                            )
                                        )
                                        for i in T.serial(
                                            T.Cast("int32", begin),
                                            T.Cast("int32", begin) + T.Cast("int32", end - begin),
                                        ):
                                            work[i] = T.float32(0)
                                            for j in range(4):
                                                work[i] = work[i] + x[i, j]
                                        chunk[0] = T.call_extern(
                                            "int32",
                                            "c4n_take",
                                            T.address_of(counters[owner * 16 + turn]),
                                        )
                        with T.attr(T.int32(0), "pragma_parallel_barrier_when_finish", 1):
                            for i in T.parallel(40):
                                y[i] = T.cast(turn + 1, "float32") * work[i]

    @R.function
    def main(x: R.Tensor((40, 4), "float32")) -> R.Tensor((40,), "float32"):
        cls = Taken
        with R.dataflow():
            both = R.call_tir(
                cls.sums, (x,), out_ty=[R.Tensor((40,), "float32"), R.Tensor((40,), "float32")]
            )
            gv = both[0]
            R.output(gv)
        return gv
