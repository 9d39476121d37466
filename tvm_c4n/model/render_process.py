"""A process that renders one chat: it may be started before the chat is there.

Python and jinja2 take some 90 ms to start, a chat 1 ms. Whoever knows that a chat will come starts
the process while it waits, and loses nothing: it still renders one chat only, within its limits.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tvm_c4n.errors import C4nError

_RENDERER = Path(__file__).with_name("chat_renderer.py")


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes
    ----------
    code : int
        Exit code; the negative of a signal that ended it.
    out, err : str
        What it wrote.
    """

    code: int
    out: str
    err: str


class RenderProcess:
    """`chat_renderer.py`, waiting for its request.

    Raises
    ------
    C4nError
        It cannot be started.
    """

    def __init__(self) -> None:
        try:
            self._process = subprocess.Popen(  # noqa: S603 - a list, and a program of ours
                # Nothing beside the program is imported in the place of Python's own modules.
                [sys.executable, "-P", "-B", str(_RENDERER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                # Ctrl-C is for whoever waits for the text.
                start_new_session=True,
            )
        except OSError as error:
            raise C4nError(
                f"no Python to render a chat template with: {sys.executable}: {error.strerror}"
            ) from None

    def ask(self, request: str, secs: float) -> Ended | None:
        """Send the request and wait for the end; None: that took longer than so many seconds."""
        try:
            out, err = self._process.communicate(request, timeout=secs)
        except subprocess.TimeoutExpired:
            self.close()
            return None
        return Ended(self._process.returncode, out, err)

    def close(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        with suppress(ValueError, OSError):  # a part of the request may wait in its pipe
            self._process.communicate()
        self._process.wait()


class NextProcess:
    """The process of the next chat, started while nobody waits for it."""

    def __init__(self) -> None:
        self._process: RenderProcess | None = None

    def prepare(self) -> None:
        """Start it, unless it is there."""
        self._process = self._process or RenderProcess()

    def take(self) -> RenderProcess:
        """Return it, or one that starts only now; it renders one chat."""
        process, self._process = self._process or RenderProcess(), None
        return process

    def close(self) -> None:
        """End it, if it is there."""
        if self._process is not None:
            self._process.close()
            self._process = None
