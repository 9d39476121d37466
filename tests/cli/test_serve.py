"""`tvm-c4n serve`: what it says, and where its key comes from."""

import os
import signal
import socket
import threading
import time
from contextlib import suppress
from http.client import HTTPConnection

import pytest

from tvm_c4n.cli.serve import read_key
from tvm_c4n.errors import C4nError

KEY = "0123456789abcdef"


def test_a_key_comes_from_a_file_or_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("TVM_C4N_API_KEY", raising=False)
    assert read_key(None) is None
    monkeypatch.setenv("TVM_C4N_API_KEY", "")
    assert read_key(None) is None
    monkeypatch.setenv("TVM_C4N_API_KEY", KEY)
    assert read_key(None) == KEY
    file = tmp_path / "key"
    file.write_text(f"  {KEY[::-1]}\n")
    assert read_key(file) == KEY[::-1]
    for wrong in ("short", KEY + "\xe9", KEY + "\n" + KEY, "a" * 2000):
        file.write_text(wrong)
        with pytest.raises(C4nError, match="16 to 1024 printable ASCII characters"):
            read_key(file)


def test_it_says_where_it_is_and_ends_on_a_signal(call, artifact, monkeypatch):
    monkeypatch.delenv("TVM_C4N_API_KEY", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    health = []

    def ask():
        while not health:
            with suppress(ConnectionError):
                connection = HTTPConnection("127.0.0.1", port, timeout=30)
                connection.request("GET", "/health")
                health.append(connection.getresponse().read())
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    asking = threading.Thread(target=ask)
    asking.start()
    result = call("serve", artifact, "--port", port, "-t", "1")
    asking.join()
    assert health == [b'{"status":"ok"}']
    url = f"http://127.0.0.1:{port}"
    said = (
        "n2 was compiled without --batch: its answers take turns\n"
        f"n2: {url} is a chat page, {url}/v1 the API\nshutting down\n"
    )
    assert (result.code, result.out, result.err) == (0, "", said)
