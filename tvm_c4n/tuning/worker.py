"""The part of measuring that runs in the worker processes of MetaSchedule's runners.

Workers import these functions by name. The module is small, so that a worker is up quickly.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from math import prod
from typing import Any

import numpy as np

from tvm_c4n._tvm import tvm
from tvm_c4n.errors import DeviceError
from tvm_c4n.runtime import huge_pages
from tvm_c4n.runtime.device.rpc import RpcAddress, connect

ENTRY, FILL = "main", "fill"
"""Functions of a measured library: the kernel, and what writes its arguments."""


GRACE_SECS = 10
"""A device that has not ended a session by then does not answer at all."""
_RETRY_SECS = 0.5


def open_session(wait_secs: float, config: Any) -> Any:
    """Open a session with a device of the tracker that an `RPCConfig` names, or give up.

    A tracker or a device that is being started again is waited for. From here on this process has
    until the session's end: a device that is frozen, or out of reach, closes no connection, and
    the call that waits for its answer returns to no one. Then the process ends, and with it the
    candidate; `close_session` stops the clock.
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


def close_session(session: Any, _remote_path: str | None) -> None:
    """End a session; what it uploaded goes with it."""
    with suppress(Exception):  # a kernel that crashed has closed it already
        session.get_function("CloseRPCConnection")()
    signal.setitimer(signal.ITIMER_REAL, 0)


def allocate(_device: Any, infos: Sequence[Any], repeat: int) -> list[list[Any]]:
    """Allocate ``("TENSOR", dtype, shape)`` here; the library's own ``fill`` writes them."""
    return [
        [huge_tensor(tuple(map(int, shape)), str(dtype)) for _, dtype, shape in infos]
        for _ in range(repeat)
    ]


def huge_tensor(shape: tuple[int, ...], dtype: str) -> Any:
    """Return a tensor in huge pages, as weights are when a model runs."""
    size_bytes = prod(shape) * np.dtype(dtype).itemsize
    return tvm.runtime.from_dlpack(huge_pages.allocate(size_bytes).view(dtype).reshape(shape))


def allocate_remote(
    _session: Any, device: Any, infos: Sequence[Any], repeat: int
) -> list[list[Any]]:
    """Allocate on the device of a session; see `allocate`."""
    return [
        [tvm.runtime.empty(tuple(map(int, shape)), str(dtype), device) for _, dtype, shape in infos]
        for _ in range(repeat)
    ]


def evaluate(
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
