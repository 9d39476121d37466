"""An emulated phone: an aarch64 TVM RPC server under qemu, and the tracker that lends it out.

Tests take it from the fixtures `phone` and `phone_max` (tests/conftest.py)::

    y = phone.run(lib, {"main": [x, w, np.zeros(rows, "int32")]})["main"][2]

It tells whether code is right on an ARM processor, never how fast it is there. All its processes
listen on 127.0.0.1 only and end with the test run, however that ends.
"""

from __future__ import annotations

import gc
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from tvm import relax, rpc

from tvm_c4n.compile.link import make_fcompile

HERE = Path(__file__).parent
HOST = "127.0.0.1"
KEY = "phone"
SYSROOT = "/usr/aarch64-linux-gnu"
# What every phone since 2018 can run, and the default emulated processor too.
TARGET = {
    "kind": "llvm",
    "mtriple": "aarch64-linux-gnu",
    "mcpu": "cortex-a78",
    "mattr": ["+dotprod"],
    "num-cores": 4,
}

_START_SECS = 200
_FREE_SECS = 200
_MISSING_TOOLS = 3  # setup.sh's exit status
_TRACKER = f"""
import socket, sys
from tvm.rpc import tracker
listener = socket.create_server(({HOST!r}, int(sys.argv[1])))
print("listening", listener.getsockname()[1], flush=True)
tracker._tracker_server(listener, "")
"""


class PhoneError(RuntimeError):
    """The emulated phone cannot be built, did not start, or is gone."""


class MissingTools(PhoneError):
    """Debian packages are missing; the message is the line that installs them."""


def phone_folder() -> Path:
    """Return the folder for what setup.sh builds: $TVM_C4N_PHONE_DIR, else build/phone."""
    return Path(os.environ.get("TVM_C4N_PHONE_DIR") or HERE.parents[1] / "build" / "phone")


def build_phone() -> Path:
    """Build what is not built yet (seconds, once) and return the folder.

    Raises
    ------
    MissingTools
        qemu or the cross compiler is not installed.
    PhoneError
        The build failed.
    """
    done = subprocess.run(
        ["bash", str(HERE / "setup.sh"), str(phone_folder())],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    if done.returncode == _MISSING_TOOLS:
        raise MissingTools(last)
    if done.returncode:
        raise PhoneError(f"setup.sh failed: {last}")
    return phone_folder().resolve()


class Process:
    """A background process that prints "listening PORT", with everything that it forks.

    Attributes
    ----------
    pid, port : int
        Its process id, also its process group's, and the port that it printed.
    log : Path
        Its standard error.
    """

    def __init__(self, command: Sequence[str], log: Path, env: Mapping[str, str]) -> None:
        # The kernel kills it when this process dies, even by a signal that nobody can catch.
        command = ["setpriv", "--pdeathsig", "KILL", *command]
        self.log = log
        with log.open("ab") as stderr:
            self._popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, **env},
                start_new_session=True,
            )
        self.pid = self._popen.pid
        ready, _, _ = select.select([self._popen.stdout], [], [], _START_SECS)
        line = self._popen.stdout.readline().decode() if ready else ""
        if not (found := re.match(r"listening (\d+)$", line)):
            self.stop()
            raise PhoneError(f"{command[3]} did not start: {line!r} {self.text()[-500:]}")
        self.port = int(found[1])

    def text(self) -> str:
        """Return what it has written to its standard error."""
        return self.log.read_text(errors="replace")

    def stop(self) -> None:
        """Kill it and what it forked, and wait for it; once is enough."""
        if self._popen.returncode is not None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()
        self._popen.stdout.close()


class Phone:
    """Running phones, mostly one, and their tracker; `emulated_phone` makes them.

    Attributes
    ----------
    tracker : Process
        Clients connect to `tracker.port` and ask for a phone with the key `KEY`.
    servers : list of Process
        The phones; `server` is the first one.
    """

    def __init__(self, folder: Path, cpu: str, threads: int, count: int) -> None:
        self._folder, self._cpu = folder, cpu
        self._binary = build_phone() / "bin" / "rpc_phone"
        self._env = {"TMPDIR": str(folder), "TVM_NUM_THREADS": str(threads)}
        self.servers: list[Process] = []
        self.tracker = self._start_tracker(0)
        try:
            for index in range(count):
                self.servers.append(self._start_server(index))
        except BaseException:
            self.stop()
            raise

    @property
    def server(self) -> Process:
        """The first phone."""
        return self.servers[0]

    def _start_tracker(self, port: int) -> Process:
        command = [sys.executable, "-c", _TRACKER, str(port)]
        return Process(command, self._folder / "tracker.log", self._env)

    def _start_server(self, index: int) -> Process:
        emulator = ["qemu-aarch64", "-cpu", self._cpu, "-L", SYSROOT]
        command = [*emulator, str(self._binary), KEY, str(self.tracker.port)]
        return Process(command, self._folder / f"phone{index}.log", self._env)

    def kill_server(self, index: int = 0) -> None:
        """Kill a phone, as a battery that is empty does."""
        self.servers[index].stop()

    def restart_server(self, index: int = 0) -> None:
        """Start a phone again that is dead; its log is continued."""
        self.servers[index] = self._start_server(index)

    def kill_tracker(self) -> None:
        """Kill the tracker; the phones end by themselves."""
        self.tracker.stop()

    def restart_tracker(self) -> None:
        """Start the tracker again on its port, and the phones."""
        self.tracker = self._start_tracker(self.tracker.port)
        for index, server in enumerate(self.servers):
            server.stop()
            self.restart_server(index)

    @staticmethod
    def listening(pid: int) -> list[tuple[str, int]]:
        """Return (address, port) of every TCP socket that a process listens on, from /proc."""
        links, found = [], []
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed by now
                links.append(str(link.readlink()))
        for table in ("tcp", "tcp6"):
            for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and f"socket:[{fields[9]}]" in links:
                    address, port = fields[1].split(":")
                    found.append((address, int(port, 16)))
        return found

    def stop(self) -> None:
        """End all of it."""
        for process in [*self.servers, self.tracker]:
            process.stop()

    def log(self, index: int = 0) -> str:
        """Return a line for every session of a phone so far: done, crashed, timed out."""
        return self.servers[index].text()

    @contextmanager
    def session(self, timeout_secs: float = 60) -> Iterator[rpc.RPCSession]:
        """Open a session, which ends with the block or after `timeout_secs`."""
        gc.collect()  # what is left of an earlier session lies in cycles, and keeps it open
        client = rpc.connect_tracker(HOST, self.tracker.port)
        end = time.monotonic() + _FREE_SECS
        # tvm's own `request` waits for ever for a phone that does not come back.
        while not client.summary()["queue_info"].get(KEY, {}).get("free"):
            if time.monotonic() > end:
                raise PhoneError(f"not free after {_FREE_SECS} s: {self.log()[-500:]}")
            time.sleep(0.02)
        remote = client.request(KEY, session_timeout=timeout_secs)
        try:
            yield remote
        finally:
            with suppress(Exception):  # a kernel that crashed has closed it already
                remote.get_function("CloseRPCConnection")()

    def load(self, remote: rpc.RPCSession, lib: Any, triple: str = "aarch64-linux-gnu") -> Any:
        """Link a compiled module or executable for `triple`, send it, and return it loaded."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "lib.so")
            lib.export_library(str(path), fcompile=make_fcompile(triple))
            remote.upload(str(path))
        return remote.load_module(path.name)

    def run(
        self,
        lib: Any,
        calls: Mapping[str, Sequence[np.ndarray | int]],
        *,
        triple: str = TARGET["mtriple"],
    ) -> dict[str, list[Any]]:
        """Call kernels that write to their arguments.

        Parameters
        ----------
        lib : tvm.runtime.Module or tvm.runtime.Executable
            Compiled for `TARGET`, or for the target of `triple`.
        calls : mapping of str to sequence of ndarray or int
            The arguments of each function to call, in order.

        Returns
        -------
        dict of str to list
            All arguments of each function as they are after the call.
        """
        with self.session() as remote:
            module, device = self.load(remote, lib, triple), remote.cpu(0)
            results = {}
            for name, arrays in calls.items():
                tensors = [
                    a if isinstance(a, int) else tvm.runtime.tensor(a, device) for a in arrays
                ]
                module[name](*tensors)
                results[name] = [t if isinstance(t, int) else t.numpy() for t in tensors]
            return results

    def run_vm(
        self,
        lib: Any,
        calls: Mapping[str, Sequence[np.ndarray]],
        *,
        triple: str = TARGET["mtriple"],
    ) -> dict[str, Any]:
        """Call functions of a Relax module in the phone's virtual machine.

        Parameters are those of `run`.

        Returns
        -------
        dict of str to ndarray or nested tuple of ndarray
            What each function returned.
        """
        with self.session() as remote:
            device = remote.cpu(0)
            machine = relax.VirtualMachine(self.load(remote, lib, triple), device)
            results = {}
            for name, arrays in calls.items():
                # A tuple does not cross the connection in one piece: it is fetched by item.
                machine.set_input(name, *(tvm.runtime.tensor(array, device) for array in arrays))
                machine.invoke_stateful(name)
                results[name] = _to_numpy(machine.get_outputs(name))
            return results

    def time(self, lib: Any, name: str, arrays: Sequence[np.ndarray], *, number: int = 3) -> float:
        """Return the mean seconds of `number` calls by the emulator's clock, no phone's."""
        with self.session() as remote:
            module, device = self.load(remote, lib), remote.cpu(0)
            tensors = [tvm.runtime.tensor(array, device) for array in arrays]
            return module.time_evaluator(name, device, number=number)(*tensors).mean


def _to_numpy(value: Any) -> Any:
    return value.numpy() if hasattr(value, "numpy") else tuple(_to_numpy(item) for item in value)


@contextmanager
def emulated_phone(cpu: str = "cortex-a76", threads: int = 2, count: int = 1) -> Iterator[Phone]:
    """Build, start and in the end stop a phone.

    Parameters
    ----------
    cpu : str
        qemu's name. "cortex-a76" has the dot product and neither i8mm nor SVE, as a Cortex-A78: an
        instruction too many dies here as it would there. "max" has everything that qemu knows.
    threads : int
        Size of TVM's thread pool on the phone.
    count : int
        Phones, all at one tracker.
    """
    with tempfile.TemporaryDirectory(prefix="phone.") as folder:
        running = Phone(Path(folder), cpu, threads, count)
        try:
            yield running
        finally:
            running.stop()
