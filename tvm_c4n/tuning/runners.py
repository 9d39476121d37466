"""MetaSchedule's runners for this machine and for a tracker's devices, and what their workers run.

Workers import the functions of this module by name, so it imports nothing that is slow to load.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from math import prod
from typing import Any

import numpy as np

from tvm_c4n._tvm import tvm
from tvm_c4n.errors import DeviceError
from tvm_c4n.runtime import huge_pages
from tvm_c4n.runtime.device.rpc import RpcAddress, connect
from tvm_c4n.tuning.harness import ENTRY, FILL
from tvm_c4n.tuning.metaschedule import ms

# A device that has not ended a session that long after its time-out does not answer at all.
GRACE_SECS = 10
_RETRY_SECS = 0.5


def local_runner(
    threads: int, *, timeout_secs: float, samples: int, min_repeat_ms: int = 20
) -> Any:
    """Return a MetaSchedule runner for this machine; a kernel that hangs is killed.

    Parameters
    ----------
    threads : int
        Threads of the worker's pool.
    timeout_secs : float
        For one candidate: loading, filling and timing.
    samples, min_repeat_ms : int
        Samples of each candidate, and the least milliseconds of a sample.
    """
    return ms.runner.LocalRunner(
        timeout_sec=timeout_secs,
        evaluator_config=_config(samples, min_repeat_ms),
        f_alloc_argument=_allocate,
        f_run_evaluator=partial(_evaluate, threads, None),
    )


def rpc_runner(
    address: RpcAddress,
    threads: int,
    *,
    wait_secs: float,
    session_secs: float,
    samples: int,
    min_repeat_ms: int = 0,
    devices: int = 1,
) -> Any:
    """Return a MetaSchedule runner for the devices that a tracker lends out.

    Parameters
    ----------
    address : RpcAddress
        The tracker's, with the devices' key.
    threads : int
        Threads of the device's pool.
    wait_secs : float
        How long a candidate waits for a free device before it counts as failed.
    session_secs : float
        The device ends a session by itself after that time: upload, filling and timing.
    samples, min_repeat_ms : int
        Samples of each candidate, and the least milliseconds of a sample.
    devices : int
        Candidates that are timed at once.
    """
    config = ms.runner.RPCConfig(
        tracker_host=address.host,
        tracker_port=address.port,
        tracker_key=address.key,
        session_timeout_sec=int(session_secs),
    )
    return ms.runner.RPCRunner(
        rpc_config=config,
        evaluator_config=_config(samples, min_repeat_ms),
        f_create_session=partial(_open_session, wait_secs),
        f_alloc_argument=_allocate_remote,
        f_run_evaluator=partial(_evaluate, threads),
        f_cleanup=_close_session,
        max_workers=devices,
    )


def _config(samples: int, min_repeat_ms: int) -> Any:
    return ms.runner.EvaluatorConfig(
        number=1, repeat=samples, min_repeat_ms=min_repeat_ms, enable_cpu_cache_flush=False
    )


def runs_here(runner: Any) -> bool:
    """Return whether a runner takes this machine's cores."""
    return isinstance(runner, ms.runner.LocalRunner)


def kill_workers(runner: Any) -> None:
    """End the worker processes of one of MetaSchedule's runners; it starts new ones when needed.

    A worker that waits for a device that is gone would wait for ever, and keep this program from
    ending.
    """
    own = getattr(runner, "_inst", runner)
    pool = getattr(own, "pool", None)
    for worker in list(getattr(pool, "_worker_map", {}).values()):
        worker.kill()


def huge_tensor(shape: tuple[int, ...], dtype: str) -> Any:
    """Return a tensor in huge pages, as weights are when a model runs."""
    size_bytes = prod(shape) * np.dtype(dtype).itemsize
    return tvm.runtime.from_dlpack(huge_pages.allocate(size_bytes).view(dtype).reshape(shape))


def _open_session(wait_secs: float, config: Any) -> Any:
    """Open a session with a device of the tracker that an `RPCConfig` names, or give up.

    It waits for a tracker or a device that is being started again. From here on this process has
    until the session's end: a device that is frozen or out of reach closes no connection, and the
    call that waits for its answer never returns. Then the process ends, and with it the candidate;
    `_close_session` stops the clock.
    """
    address = RpcAddress(config.tracker_host, config.tracker_port, config.tracker_key)
    signal.setitimer(signal.ITIMER_REAL, wait_secs + config.session_timeout_sec + GRACE_SECS)
    end = time.monotonic() + wait_secs
    while True:
        left = end - time.monotonic()
        try:
            session = connect(address, max(left, _RETRY_SECS), config.session_timeout_sec)
            signal.setitimer(signal.ITIMER_REAL, config.session_timeout_sec + GRACE_SECS)
            return session
        except DeviceError:
            if left < _RETRY_SECS:
                raise
            time.sleep(_RETRY_SECS)


def _close_session(session: Any, _remote_path: str | None) -> None:
    """End a session; what it uploaded goes with it."""
    with suppress(Exception):  # a kernel that crashed has closed it already
        session.get_function("CloseRPCConnection")()
    signal.setitimer(signal.ITIMER_REAL, 0)


def _allocate(_device: Any, infos: Sequence[Any], sets: int) -> list[list[Any]]:
    """Allocate ``("TENSOR", dtype, shape)`` here; the library's own ``fill`` writes them."""
    return [
        [huge_tensor(tuple(map(int, shape)), str(dtype)) for _, dtype, shape in infos]
        for _ in range(sets)
    ]


def _allocate_remote(
    _session: Any, device: Any, infos: Sequence[Any], sets: int
) -> list[list[Any]]:
    """Allocate ``("TENSOR", dtype, shape)`` on the device of a session."""
    return [
        [tvm.runtime.empty(tuple(map(int, shape)), str(dtype), device) for _, dtype, shape in infos]
        for _ in range(sets)
    ]


def _evaluate(
    threads: int, session: Any, module: Any, device: Any, config: Any, sets: list[list[Any]]
) -> list[float]:
    """Fill the arguments and time ``main``; returns the seconds of each sample."""
    get = tvm.get_global_func if session is None else session.get_function
    remote = session is not None
    get("runtime.config_threadpool")(1 if remote else 0, threads)
    found: list[float] = []
    for arguments in sets:
        module[FILL](*arguments)
        timer = module.time_evaluator(
            ENTRY,
            device,
            number=config.number,
            repeat=config.repeat,
            min_repeat_ms=config.min_repeat_ms,
        )
        module[ENTRY](*arguments)  # once, to warm up
        found += [float(seconds) for seconds in timer(*arguments).results]
    return found
