"""Tune kernels on a device that a tracker lends out: `python examples/tune_over_rpc.py [TRIALS]`.

Tracker and device run here, on 127.0.0.1; docs/guides/phone.md reaches a phone in the same way.
Whoever can connect to either may run code on it, so neither should listen to a network. Needs the
extra `tune`: `pip install 'tvm-c4n[tune]'`.
"""

from __future__ import annotations

import sys
from tempfile import TemporaryDirectory

import numpy as np
from tvm import relax
from tvm.rpc.server import Server
from tvm.rpc.tracker import Tracker

import tvm_c4n
from tvm_c4n.runtime.device.rpc import RpcAddress, check_devices
from tvm_c4n.tuning.runners import kill_workers, rpc_runner

HOST, KEY = "127.0.0.1", "example"


def module() -> relax.expr.IRModule:
    """Return a dense layer, half of whose weights are zero: 2 of every 4."""
    weight = np.random.default_rng(0).normal(size=(128, 256)).astype("float32")
    weight[:, 0::4] = weight[:, 1::4] = 0
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((1, 256), "float32"))
    with builder.function("main", [x]):
        builder.emit_func_output(
            builder.emit(relax.op.matmul(x, relax.op.permute_dims(relax.const(weight))))
        )
    return builder.get()


def main(trials: str = "4") -> None:
    """Start a tracker and a device, tune a layer, and build with what was found."""
    tracker = Tracker(HOST, port=9390, port_end=9990, silent=True)
    device = Server(HOST, 9391, 9991, tracker_addr=(HOST, tracker.port), key=KEY, silent=True)
    address = RpcAddress(HOST, tracker.port, KEY)
    check_devices(address)
    runner = rpc_runner(address, 1, wait_secs=60, session_secs=60, samples=3)
    try:
        with TemporaryDirectory() as records:
            found = tvm_c4n.tune(
                module(), runner=runner, records=records, trials=int(trials), batch=2, confirm=False
            )
            for best in found:
                print(f"{best.spec['kind']}: {best.decisions}, {best.seconds * 1e6:.1f} us")
            tvm_c4n.build(module(), records=records)
            print("built with these records")
    finally:
        kill_workers(runner)
        device.terminate()
        tracker.terminate()


if __name__ == "__main__":
    main(*sys.argv[1:])
