"""Where a device is: a tracker's key, or a server."""

import os
import shlex
import signal
import socket
import struct
import subprocess
import sys
import time

import pytest

from tvm_c4n.errors import C4nError, DeviceError
from tvm_c4n.runtime.device.rpc import RpcAddress, check_devices, parse_address


def test_addresses():
    assert parse_address("rpc://10.0.0.7:9190/pixel-8") == RpcAddress("10.0.0.7", 9190, "pixel-8")
    assert parse_address("rpc://localhost:9090").key is None
    assert str(parse_address("rpc://localhost:9090/a")) == "rpc://localhost:9090/a"
    for text in ("rpc://", "rpc://host", "rpc://host:0/x", "rpc://host:99999", "rpc://h:1/a b"):
        with pytest.raises(C4nError, match="is no device"):
            parse_address(text)


@pytest.fixture
def tracker():
    """A tracker of TVM without devices."""
    from tvm.rpc.tracker import Tracker

    running = Tracker("127.0.0.1", 39190, 39999)
    yield running
    running.terminate()


def announce(tracker, key):
    """Register as a device of a key, without ever serving; the caller closes the connection."""
    from tvm.rpc import base

    address = ("127.0.0.1", tracker.port)
    sock = base.connect_with_retry(address)
    sock.sendall(struct.pack("<i", base.RPC_TRACKER_MAGIC))
    base.recvall(sock, 4)
    about = {"key": f"server:{key}", "addr": ["127.0.0.1", 1]}
    base.sendjson(sock, [base.TrackerCode.UPDATE_INFO, about])
    assert base.recvjson(sock) == base.TrackerCode.SUCCESS
    return sock


def test_a_tracker_without_the_key_says_what_it_has_within_seconds(tracker):
    address = RpcAddress("127.0.0.1", tracker.port, "phone")
    with pytest.raises(DeviceError, match=r"no device of key 'phone'; it has none at all: start"):
        check_devices(address, wait_secs=1)
    with announce(tracker, "pixel"), announce(tracker, "pixel"), announce(tracker, "moto"):
        has = r"it has 1 of key 'moto', 2 of key 'pixel': start one with .* --key phone"
        with pytest.raises(DeviceError, match=has):
            check_devices(address, wait_secs=1)
        check_devices(RpcAddress("127.0.0.1", tracker.port, "pixel"))
    with announce(tracker, "proxy[phone,tablet]"):
        check_devices(address)


def test_what_is_no_tracker_is_said_at_once(monkeypatch):
    # It tries for a minute, and waits for ever for a greeting.
    monkeypatch.setattr("tvm.rpc.connect_tracker", lambda *_: pytest.fail("TVM was asked"))
    with pytest.raises(DeviceError, match=r"no tracker answers at 127.0.0.1:1 .*rpc_tracker"):
        check_devices(RpcAddress("127.0.0.1", 1, "phone"))
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        with pytest.raises(DeviceError, match=f"no tracker answers at 127.0.0.1:{port} "):
            check_devices(RpcAddress("127.0.0.1", port, "phone"), wait_secs=0.5)


@pytest.mark.slow
def test_the_command_that_is_named_starts_a_tracker():
    """At a port beyond those that TVM tries by itself."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = RpcAddress("127.0.0.1", free.getsockname()[1], "phone")
    with pytest.raises(DeviceError) as caught:
        check_devices(address)
    command = shlex.split(str(caught.value).partition("start one with python ")[2])
    running = subprocess.Popen(
        [sys.executable, *command], stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        said = "no tracker answers"
        for _ in range(600):
            if "no tracker answers" not in said:
                break
            assert running.poll() is None
            time.sleep(0.1)
            with pytest.raises(DeviceError) as caught:
                check_devices(address)
            said = str(caught.value)
        assert "no device of key 'phone'; it has none at all" in said
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
