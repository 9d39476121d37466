"""Sessions with devices over TVM's RPC: through a tracker that lends them out, or directly.

Whoever can connect to a tracker or server of TVM can run code there; docs/security.md says how to
keep both to this machine and reach a phone through a tunnel.
"""

from __future__ import annotations

import gc
import re
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from tvm.rpc.base import RPC_TRACKER_MAGIC

from tvm_c4n._tvm import tvm
from tvm_c4n.errors import C4nError, DeviceError

# Seconds in which a tracker answers, and a device that is being started again has come back to it.
ANSWER_SECS = 5.0

_FORM = re.compile(r"rpc://(?P<host>[^/:\s]+):(?P<port>\d{1,5})(?:/(?P<key>[\w.\-]+))?")


@dataclass(frozen=True)
class RpcAddress:
    """Where a device is.

    Attributes
    ----------
    host, port : str, int
        Where a tracker listens, or a server where `key` is None.
    key : str or None
        The name under which the tracker lends devices out.
    """

    host: str
    port: int
    key: str | None

    def __str__(self) -> str:
        return f"rpc://{self.host}:{self.port}" + (f"/{self.key}" if self.key else "")


def parse_address(text: str) -> RpcAddress:
    """Read ``rpc://HOST:PORT/KEY`` (a tracker) or ``rpc://HOST:PORT`` (a server).

    Raises
    ------
    C4nError
        Another form.
    """
    found = _FORM.fullmatch(text)
    if found is None or not 0 < int(found["port"]) < 65536:
        raise C4nError(
            f"{text!r} is no device: use rpc://HOST:PORT/KEY for a tracker, rpc://HOST:PORT for "
            "a server"
        )
    return RpcAddress(found["host"], int(found["port"]), found["key"])


def check_devices(address: RpcAddress, *, wait_secs: float = ANSWER_SECS) -> None:
    """Make sure that a tracker answers and knows a device of a key, be it free or not.

    Parameters
    ----------
    address : RpcAddress
        A tracker's, with a key.
    wait_secs : float
        How long to wait for either.

    Raises
    ------
    DeviceError
        Nobody answers, it is no tracker, or it has no device of the key; says what it has.
    """
    where = f"{address.host}:{address.port}"
    end = time.monotonic() + wait_secs
    while True:
        found = _devices(where, address, wait_secs)
        if address.key in found:
            return
        if time.monotonic() > end:
            break
        time.sleep(0.5)
    has = ", ".join(f"{count} of key {key!r}" for key, count in sorted(found.items()))
    raise DeviceError(
        f"the tracker at {where} has no device of key {address.key!r}; it has "
        f"{has or 'none at all'}: start one with python -m tvm.exec.rpc_server "
        f"--tracker {where} --key {address.key}"
    )


def _devices(where: str, address: RpcAddress, wait_secs: float) -> Counter[str]:
    """Ask a tracker for its devices: how many there are of each key."""
    try:
        # TVM itself tries for a minute to reach a port where nobody listens, and waits for ever
        # for the greeting of something that is no tracker.
        with socket.create_connection((address.host, address.port), timeout=wait_secs) as probe:
            greeting = struct.pack("<i", RPC_TRACKER_MAGIC)
            probe.sendall(greeting)
            if probe.recv(4) != greeting:
                raise DeviceError(f"{where} is no tracker of TVM: look after --tracker")
        tracker = tvm.rpc.connect_tracker(address.host, address.port)
        tracker._sock.settimeout(wait_secs)
        servers = tracker.summary()["server_info"]
        tracker.close()
    except OSError as error:
        # TVM's own end of the ports is 9199: from there on it would find none.
        ports = f"--port {address.port} --port-end {address.port + 1}"
        raise DeviceError(
            f"no tracker answers at {where} ({error.strerror or error}): start one with "
            f"python -m tvm.exec.rpc_tracker --host {address.host} {ports}"
        ) from None
    names = [str(server["key"]).partition(":")[2] for server in servers]
    # A proxy registers as "proxy[phone,tablet]" for the devices behind it.
    lists = [name.removeprefix("proxy[").removesuffix("]").split(",") for name in names]
    return Counter(name for names in lists for name in names if name)


@contextmanager
def open_session(
    address: RpcAddress, *, wait_secs: float = 60, session_secs: float = 600
) -> Iterator[Any]:
    """Open a session (`tvm.rpc.RPCSession`) that ends with the block.

    Parameters
    ----------
    address : RpcAddress
    wait_secs : float
        How long to wait for a device that is free.
    session_secs : float
        The device ends the session by itself after this time.

    Raises
    ------
    DeviceError
        Nobody answers, or no device becomes free.
    """
    if address.key is not None:
        check_devices(address)
    gc.collect()  # what is left of an earlier session lies in cycles, and keeps it open
    remote = connect(address, wait_secs, session_secs)
    try:
        yield remote
    finally:
        with suppress(Exception):  # a kernel that crashed has closed it already
            remote.get_function("CloseRPCConnection")()


def connect(address: RpcAddress, wait_secs: float, session_secs: float) -> Any:
    """Return a session that the caller closes; see `open_session`."""
    try:
        # TVM itself tries for a minute to reach a port where nobody listens.
        socket.create_connection((address.host, address.port), timeout=wait_secs).close()
        if address.key is None:
            return tvm.rpc.connect(address.host, address.port, session_timeout=session_secs)
        tracker = tvm.rpc.connect_tracker(address.host, address.port)
        # TVM waits forever for a device that does not come; its tracker forgets those who leave.
        tracker._sock.settimeout(wait_secs)
        return tracker.request(address.key, session_timeout=session_secs, max_retry=1)
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().split("\n")[-1]
        if "timed out" in reason:
            reason = f"no device is free after {wait_secs:g} s"
        raise DeviceError(f"{address}: {reason}: is the device's server running?") from None
