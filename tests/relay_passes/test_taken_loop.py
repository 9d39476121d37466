"""A loop in chunks runs each iteration once, whatever the counts of threads and of iterations."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tvm.script import ir as I
from tvm.script import tirx as T

from relay_passes import TakeChunks, taken_loop
from tvm_c4n._tvm import IRModule, tvm

RUNS = 3


@I.ir_module(s_tir=True)
class Counting:
    """Each iteration adds 1 to its place, three times."""

    @T.prim_func(s_tir=True)
    def main(places: T.handle):
        n = T.int32()
        y = T.match_buffer(places, (n,), "int32")
        with T.attr(T.int32(0), "pragma_parallel_launch_point", 1):
            for _turn in range(3):
                with T.attr(T.int32(0), "pragma_parallel_barrier_when_finish", 1):
                    for i in T.parallel(n):
                        y[i] = y[i] + 1


@I.ir_module(s_tir=True)
class Telling:
    """Each iteration says that it runs."""

    @T.prim_func(s_tir=True)
    def main(places: T.Buffer((40,), "int32")):
        for i in T.parallel(40):
            places[i] = T.call_packed("tests.taken_loop", places[i])


def compiled(mod: IRModule) -> Any:
    return tvm.tirx.build(TakeChunks(1)(mod), {"kind": "llvm"})["main"]


def with_threads(count: int, monkeypatch: pytest.MonkeyPatch, task: Callable[[], None]) -> None:
    """Run a task in a thread whose pool has so many threads, whatever cores there are."""
    monkeypatch.setenv("TVM_NUM_THREADS", str(count))
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            task()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    if errors:
        raise errors[0]


@pytest.mark.parametrize("most", [1, 64])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_each_iteration_runs_once(threads: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taken_loop, "MOST_THREADS", most)
    kernel = compiled(Counting)

    def task() -> None:
        for size in (1, 2, 3, 4, 5, 7, 11, 19, 20, 21, 100, 1001, 20000):
            places = tvm.runtime.tensor(np.zeros(size, np.int32))
            kernel(places)
            np.testing.assert_array_equal(places.numpy(), np.full(size, RUNS))

    with_threads(threads, monkeypatch, task)


def test_a_pool_that_uses_fewer_threads_than_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = compiled(Counting)

    def task() -> None:
        for used in (3, 1, 2, 4):
            tvm.get_global_func("runtime.config_threadpool")(0, used)
            places = tvm.runtime.tensor(np.zeros(100, np.int32))
            kernel(places)
            np.testing.assert_array_equal(places.numpy(), np.full(100, RUNS))

    with_threads(4, monkeypatch, task)


def test_others_do_what_a_slow_thread_has_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """With two threads, the one that waits in its first chunk (3 of 20) leaves them the rest."""
    kernel = compiled(Telling)
    ran: dict[int, int] = {}

    def tell(place: int) -> int:
        ran[place] = threading.get_ident()
        deadline = time.monotonic() + 20
        while place == 0 and len(ran) < 36 and time.monotonic() < deadline:
            time.sleep(0.001)
        return place + 1

    tvm.register_global_func("tests.taken_loop", tell, override=True)

    def task() -> None:
        places = tvm.runtime.tensor(np.arange(40, dtype=np.int32))
        kernel(places)
        np.testing.assert_array_equal(places.numpy(), np.arange(1, 41))

    with_threads(2, monkeypatch, task)
    assert len(ran) == 40
    others = {place for place, thread in ran.items() if thread != ran[0]}
    assert others >= set(range(4, 40))
