"""MetaSchedule's runners for this machine and for the devices of a tracker."""

from __future__ import annotations

from functools import partial
from typing import Any

from tvm_c4n.runtime.device.rpc import RpcAddress
from tvm_c4n.tuning.metaschedule import ms
from tvm_c4n.tuning.worker import allocate, allocate_remote, close_session, evaluate, open_session


def local_runner(
    threads: int, *, timeout_secs: float, samples: int, min_repeat_ms: int = 20
) -> Any:
    """Return a MetaSchedule runner for this machine; a kernel that hangs is killed."""
    return ms.runner.LocalRunner(
        timeout_sec=timeout_secs,
        evaluator_config=_config(samples, min_repeat_ms),
        f_alloc_argument=allocate,
        f_run_evaluator=partial(evaluate, threads, None),
    )


def rpc_runner(
    address: RpcAddress,
    threads: int,
    *,
    wait_secs: float,
    session_secs: float,
    samples: int,
    min_repeat_ms: int = 0,
    phones: int = 1,
) -> Any:
    """Return a MetaSchedule runner for the devices that a tracker lends out.

    Parameters
    ----------
    address : RpcAddress
        Of a tracker.
    threads : int
        Of the device's pool.
    wait_secs : float
        How long a candidate waits for a free device before it counts as failed.
    session_secs : float
        The device ends a session by itself after that time: upload, filling and measuring.
    samples, min_repeat_ms : int
        Times that each candidate is timed, and for how long at least.
    phones : int
        Candidates that are measured at once.
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
        f_create_session=partial(open_session, wait_secs),
        f_alloc_argument=allocate_remote,
        f_run_evaluator=partial(evaluate, threads),
        f_cleanup=close_session,
        max_workers=phones,
    )


def _config(samples: int, min_repeat_ms: int) -> Any:
    return ms.runner.EvaluatorConfig(
        number=1, repeat=samples, min_repeat_ms=min_repeat_ms, enable_cpu_cache_flush=False
    )


def measures_here(runner: Any) -> bool:
    """Return whether a runner takes this machine's cores."""
    return isinstance(runner, ms.runner.LocalRunner)


def kill_workers(runner: Any) -> None:
    """End the worker processes of one of MetaSchedule's runners; it starts new ones when needed.

    One that waits for a device that is gone would wait for ever, and keep this program from ending.
    """
    own = getattr(runner, "_inst", runner)
    pool = getattr(own, "pool", None)
    for worker in list(getattr(pool, "_worker_map", {}).values()):
        worker.kill()
