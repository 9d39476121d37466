"""The emulated phone itself: kernels are exact, crashes stay there, nobody else gets in."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T
from tvm.target import Target

from tvm_c4n._tvm import intrinsic

pytestmark = pytest.mark.phone

A78 = {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "cortex-a78", "mattr": ["+dotprod"]}
X3 = {**A78, "mcpu": "cortex-x3", "mattr": ["+dotprod", "+i8mm"]}


def dot_kernel(rows, cols, instruction="sdot"):
    """y[r, :] = what `instruction` makes of w[r] and x, 16 columns at a time, in int32x4."""
    # The builder, not @T.prim_func: the parser's look at the call stack costs seconds.
    name = f"llvm.aarch64.neon.{instruction}"
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        T.func_name("main")
        x = T.arg("x", T.buffer((cols,), "int8"))
        w = T.arg("w", T.buffer((rows, cols), "int8"))
        y = T.arg("y", T.buffer((rows, 4), "int32"))
        four = T.ramp(0, 1, 4)
        with T.parallel(rows) as r:
            T.buffer_store(y, T.broadcast(T.int32(0), 4), [r, four])
            with T.serial(cols // 16) as k:
                lanes = T.ramp(k * 16, 1, 16)
                sums = intrinsic("int32x4", name, y[r, four], w[r, lanes], x[lanes])
                T.buffer_store(y, sums, [r, four])
    return tvm.IRModule({"main": builder.get()})


def dot_data(rows, cols):
    rng = np.random.default_rng(7)
    x = rng.integers(-127, 128, cols, dtype=np.int8)
    w = rng.integers(-127, 128, (rows, cols), dtype=np.int8)
    return x, w, np.zeros((rows, 4), np.int32)


def test_sdot_is_exact(phone):
    lib = tvm.compile(dot_kernel(33, 256), Target(A78))
    assert "sdot" in lib.mod.inspect_source("asm")
    x, w, y = dot_data(33, 256)
    got = phone.run(lib, {"main": [x, w, y]})["main"][2]
    np.testing.assert_array_equal(got.sum(axis=1), w.astype(np.int32) @ x.astype(np.int32))


def test_a_kernel_is_timed(phone):
    lib = tvm.compile(dot_kernel(8, 64), Target(A78))
    assert 0 < phone.time(lib, "main", dot_data(8, 64)) < 1


def test_relax_functions_on_the_phones_vm(phone):
    weight = np.random.default_rng(0).normal(size=(64, 32)).astype("float32")
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((1, 64), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            hidden = builder.emit(relax.op.matmul(x, relax.const(weight)))
            silu = builder.emit(relax.op.nn.silu(hidden))
            out = builder.emit_output(relax.Tuple([hidden, silu]))
        builder.emit_func_output(out)
    data = np.random.default_rng(1).normal(size=(1, 64)).astype("float32")
    executable = relax.build(builder.get(), Target(A78))
    hidden, silu = phone.run_vm(executable, {"main": [data]})["main"]
    expected = data.astype(np.float64) @ weight
    np.testing.assert_allclose(hidden, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(silu, expected / (1 + np.exp(-expected)), rtol=1e-5, atol=1e-5)


def test_a_crash_ends_the_session_and_not_the_phone(phone):
    too_new = tvm.compile(dot_kernel(2, 16, "smmla"), Target(X3))
    with pytest.raises(tvm.error.InternalError):
        phone.run(too_new, {"main": dot_data(2, 16)})
    lib = tvm.compile(dot_kernel(8, 64), Target(A78))
    x, w, y = phone.run(lib, {"main": dot_data(8, 64)})["main"]
    np.testing.assert_array_equal(y.sum(axis=1), w.astype(np.int32) @ x.astype(np.int32))
    assert "session crashed, signal 4" in phone.log()


def test_the_newer_phone_runs_what_kills_the_older(phone_max):
    lib = tvm.compile(dot_kernel(1, 16, "smmla"), Target(X3))
    x, w, y = phone_max.run(lib, {"main": dot_data(1, 16)})["main"]
    a, b = w.reshape(2, 8).astype(np.int32), x.reshape(2, 8).astype(np.int32)
    np.testing.assert_array_equal(y.reshape(2, 2), a @ b.T)


def test_a_session_ends_at_its_time_out(phone):
    with pytest.raises(tvm.error.RPCSessionTimeoutError), phone.session(timeout_secs=1) as remote:
        time.sleep(1.5)
        tvm.runtime.tensor(np.ones(2), remote.cpu(0)).numpy()
    assert "session timed out" in phone.log()


def test_a_file_may_not_leave_the_sessions_folder(phone):
    with phone.session() as remote, pytest.raises(tvm.error.RPCError, match="session's folder"):
        remote.upload(bytearray(b"x"), "../escaped")


def test_nothing_listens_beyond_this_machine(phone):
    for process in (phone.tracker, phone.server):
        assert phone.listening(process.pid) == [("0100007F", process.port)]


def test_a_phone_ends_with_its_process_however_that_ends(phone, tmp_path):
    code = f"""
import runpy, os, signal
emulator = runpy.run_path({str(Path(__file__).with_name("emulator.py"))!r})
with emulator["emulated_phone"]() as phone:
    with phone.session() as remote:
        print(phone.tracker.pid, phone.server.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""
    env = {**os.environ, "TMPDIR": str(tmp_path)}  # nobody is left to remove the phone's folder
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    pids = [int(word) for word in done.stdout.split()]
    assert len(pids) == 2, done.stderr
    end = time.monotonic() + 200
    while any(alive(pid) for pid in pids) and time.monotonic() < end:
        time.sleep(0.05)
    assert not [pid for pid in pids if alive(pid)]


def alive(pid):
    """Whether a process runs; a dead one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
