"""The part of measuring that runs in the worker processes of MetaSchedule's runners.

Workers import these functions by name. The module is small, so that a worker is up quickly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm_c4n._tvm import tvm
from tvm_c4n.runtime.rpc import RpcAddress, connect

ENTRY, FILL = "main", "fill"
"""Functions of a measured library: the kernel, and what writes its arguments."""


def open_session(wait_secs: float, config: Any) -> Any:
    """Open a session with a device of the tracker that an `RPCConfig` names, or give up."""
    address = RpcAddress(config.tracker_host, config.tracker_port, config.tracker_key)
    return connect(address, wait_secs, config.session_timeout_sec)


def allocate(device: Any, infos: Sequence[Any], repeat: int) -> list[list[Any]]:
    """Allocate ``("TENSOR", dtype, shape)``; the library's own ``fill`` writes them."""
    return [
        [tvm.runtime.empty(tuple(map(int, shape)), str(dtype), device) for _, dtype, shape in infos]
        for _ in range(repeat)
    ]


def allocate_remote(
    _session: Any, device: Any, infos: Sequence[Any], repeat: int
) -> list[list[Any]]:
    """Allocate on the device of a session; see `allocate`."""
    return allocate(device, infos, repeat)


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
