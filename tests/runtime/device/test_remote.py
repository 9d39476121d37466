"""RemoteEngine, with a server of TVM on this machine in a phone's place."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tvm_c4n.errors import C4nError
from tvm_c4n.runtime.artifact import open_artifact
from tvm_c4n.runtime.device.remote import RemoteEngine
from tvm_c4n.runtime.device.rpc import RpcAddress, open_session
from tvm_c4n.runtime.engine import Engine

TEXT = [1, 2, 3, 4, 5]
BUSY = "the model is in use by another thread: load one for each thread"


@pytest.fixture(scope="module")
def server() -> Iterator[RpcAddress]:
    from tvm.rpc.server import Server

    running = Server("127.0.0.1", 39390, 39999)
    yield RpcAddress("127.0.0.1", running.port, None)
    running.terminate()


@pytest.fixture
def engine(server: RpcAddress, small_artifact: Path) -> Iterator[RemoteEngine]:
    with open_session(server) as remote:
        yield RemoteEngine(open_artifact(small_artifact), remote, threads=1)


def test_it_reads_as_the_engine_here_does(engine: RemoteEngine, small_artifact: Path) -> None:
    here, ids = Engine.load(small_artifact, threads=1), np.resize(TEXT, 300)
    for _ in range(2):
        np.testing.assert_array_equal(engine.prefill(ids), here.prefill(ids))
        np.testing.assert_array_equal(engine.step(7), here.step(7))
        engine.reset()
        here.reset()
    assert [ns > 0 for ns in engine.time_test(300, 0, 3)] == [True] * 3


CALLS: dict[str, tuple[Any, ...]] = {
    "step": (1,),
    "prefill": (TEXT,),
    "reset": (),
    "set_threads": (1,),
    "time_test": (0, 1, 1),
}


def test_every_call_refuses_a_busy_engine(engine: RemoteEngine) -> None:
    for call, arguments in CALLS.items():
        with engine._alone, pytest.raises(C4nError, match=BUSY):
            getattr(engine, call)(*arguments)
    engine.step(1)  # and all is well after that


def test_two_threads_at_one_engine_read_all_or_are_refused(engine: RemoteEngine) -> None:
    expected = engine.prefill(TEXT)
    outcomes: list[str] = []

    def read() -> None:
        for _ in range(20):
            try:
                engine.reset()
                outcomes.append("read" if engine.prefill(TEXT).shape == (96,) else "broken")
            except C4nError as error:
                outcomes.append(str(error))

    threads = [threading.Thread(target=read, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(200)
    assert len(outcomes) == 40
    assert {"read"} <= set(outcomes) <= {"read", BUSY}
    engine.reset()
    np.testing.assert_array_equal(engine.prefill(TEXT), expected)


# What a child of a process that is connected says, and that the parent's connection is not hurt.
FORKED = """
import os, sys
from tvm_c4n.errors import C4nError
from tvm_c4n.runtime.artifact import open_artifact
from tvm_c4n.runtime.device.remote import RemoteEngine
from tvm_c4n.runtime.device.rpc import RpcAddress, open_session

artifact, address = open_artifact(sys.argv[1]), RpcAddress("127.0.0.1", int(sys.argv[2]), None)
with open_session(address) as remote:
    engine = RemoteEngine(artifact, remote)
    if os.fork() == 0:
        for call in (lambda: engine.step(1), lambda: engine.prefill([1]), engine.reset):
            try:
                call()
                print("went on", flush=True)
            except C4nError as error:
                print(error, flush=True)
        os._exit(3)
    print(os.waitstatus_to_exitcode(os.wait()[1]), engine.step(2).shape, flush=True)
"""


def test_a_forked_process_is_told_so(server: RpcAddress, small_artifact: Path) -> None:
    command = [sys.executable, "-c", FORKED, str(small_artifact), str(server.port)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    *refused, last = done.stdout.splitlines()
    told = "this process was forked from the one that is connected to the device: "
    assert refused == [told + "connect after the fork"] * 3, done.stderr
    assert last == "3 (96,)"
