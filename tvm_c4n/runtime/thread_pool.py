"""The threads that kernels run on: TVM has a pool of them for each thread that calls kernels.

A fork copies the calling thread only. Its pool looks alive in the child and has lost its threads,
so the first kernel there would wait for them for ever: `use` refuses that.
"""

from __future__ import annotations

import os
import platform
import threading
from functools import cache
from types import TracebackType

from tvm_c4n._tvm_runtime import get_global_func
from tvm_c4n.errors import C4nError
from tvm_c4n.runtime.cores import Cores, find_cores

# TVM's words: 1 pins threads to cores by their frequency, 0 lets the system choose, -2 pins each
# thread to a core of a list.
_MODE = 1 if platform.machine() in ("aarch64", "arm64") else 0
_LISTED = -2


class Pool(threading.local):
    """The calling thread's pool.

    Attributes
    ----------
    threads : int
        How many threads it works with; 0: there is no pool yet.
    lost : bool
        Whether the threads stayed behind in the process that forked this one.
    """

    threads = 0
    lost = False


POOL = Pool()


def use(threads: int) -> None:
    """Let the calling thread's pool work with this many threads.

    Raises
    ------
    C4nError
        This process was forked by a thread that had run a model.
    """
    if POOL.lost:
        raise C4nError(
            "this process was forked from one that had run a model, whose threads stayed there: "
            "start it with multiprocessing's 'spawn' method, or fork before a model is loaded"
        )
    if threads == POOL.threads:
        return
    configure, found = get_global_func("runtime.config_threadpool"), cores()
    if found.uneven:
        configure(_LISTED, threads, [str(number) for number in found.order])
        # The calling thread is the pool's first one, which TVM lets run everywhere.
        os.sched_setaffinity(0, found.for_threads(threads))
    else:
        configure(_MODE, threads)
    POOL.threads = threads


@cache
def cores() -> Cores:
    """Return this machine's cores, as they were when first asked: later, threads are pinned."""
    return find_cores()


def default_threads() -> int:
    """Return the threads that TVM's pool is told to have, at most one for each core.

    `tvm_c4n._tvm_runtime` tells it.
    """
    cores = os.cpu_count() or 1
    told = os.environ.get("TVM_NUM_THREADS", "")
    return min(int(told), cores) if told.isdecimal() and int(told) else cores


def _after_fork() -> None:
    POOL.lost, POOL.threads = POOL.threads > 0 or POOL.lost, 0


os.register_at_fork(after_in_child=_after_fork)


class Exclusive:
    """A block that one thread at a time may be in; a second one is refused, not kept waiting.

    It guards a model's state: two texts that take turns in it would both come out wrong, so that
    waiting would help nobody.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            raise C4nError("the model is in use by another thread: load one for each thread")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lock.release()
