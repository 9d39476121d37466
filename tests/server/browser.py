"""A browser without a window, over the WebDriver protocol: as much of it as the tests need."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

# Without the flags against background work, Chromium looks for its maker's hosts.
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# How WebDriver names an element in JSON.
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


def is_there() -> bool:
    """Return whether there is a browser that can be driven."""
    return bool(shutil.which("chromium") and shutil.which("chromedriver"))


class Browser:
    """A window of a browser."""

    def __init__(self, port: int, folder: str, size: tuple[int, int]) -> None:
        self._port, self._session = port, ""
        window = f"--window-size={size[0]},{size[1]}"
        options = {"args": [*FLAGS, window, f"--user-data-dir={folder}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        made = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{made['sessionId']}"

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=60)
        data = None if body is None else json.dumps(body).encode()
        connection.request(method, self._session + path, data)
        value = json.loads(connection.getresponse().read())["value"]
        connection.close()
        if isinstance(value, dict) and "error" in value:
            raise RuntimeError(value["message"])
        return value

    def open(self, url: str) -> None:
        """Go to a page."""
        self._call("POST", "/url", {"url": url})

    def run(self, script: str) -> Any:
        """Return what a script of the page returns."""
        return self._call("POST", "/execute/sync", {"script": script, "args": []})

    def text(self, selector: str) -> str:
        """Return the text of an element as it is shown."""
        return str(self._call("GET", f"/element/{self._find(selector)}/text"))

    def click(self, selector: str) -> None:
        """Click an element that is shown."""
        self._call("POST", f"/element/{self._find(selector)}/click", {})

    def type(self, selector: str, text: str) -> None:
        """Type into an element; a line end is the Enter key."""
        keys = text.replace("\n", "\ue007")
        self._call("POST", f"/element/{self._find(selector)}/value", {"text": keys})

    def messages(self) -> list[str]:
        """Return what the page's console was told, errors of the policy among it."""
        return [entry["message"] for entry in self._call("POST", "/se/log", {"type": "browser"})]

    def save_picture(self, file: Path) -> None:
        """Save what the window shows as PNG."""
        file.write_bytes(base64.b64decode(self._call("GET", "/screenshot")))

    def wait(self, true: Callable[[], Any], secs: float = 30) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + secs
        while not true():
            assert time.monotonic() < deadline, self.text("body")
            time.sleep(0.02)

    def close(self) -> None:
        """Close the window."""
        self._call("DELETE", "")

    def _find(self, selector: str) -> str:
        found = self._call("POST", "/element", {"using": "css selector", "value": selector})
        return str(found[_ELEMENT])


@contextmanager
def browser(size: tuple[int, int] = (900, 700)) -> Iterator[Browser]:
    """Open a window."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    driver = subprocess.Popen(
        ["chromedriver", f"--port={port}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        assert driver.stdout is not None
        while b"started successfully" not in driver.stdout.readline():
            assert driver.poll() is None
        with TemporaryDirectory() as folder:
            window = Browser(port, folder, size)
            try:
                yield window
            finally:
                window.close()
    finally:
        driver.terminate()
        driver.wait(30)
