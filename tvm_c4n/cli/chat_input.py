"""Where the lines of a chat come from: a terminal with a history, or a pipe."""

from __future__ import annotations

import os
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tvm_c4n.errors import C4nError

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

# Longer lines are no lines that somebody typed; see `tvm_c4n.cli.prompt.MAX_BYTES`.
_MAX_BYTES = 16 << 20
_PROMPT, _MORE = "> ", "  "

ReadLine = Callable[[], str | None]


def state_folder() -> Path:
    """Return the folder of what this program keeps between its runs, such as a history.

    A relative ``XDG_STATE_HOME`` is ignored, as freedesktop.org's base directory specification
    demands.
    """
    root = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (root if root.is_absolute() else Path.home() / ".local" / "state") / "tvm-c4n"


def at_a_terminal() -> bool:
    """Return whether somebody types the lines and sees the answers."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()


@contextmanager
def without_echo() -> Iterator[None]:
    """Keep what is typed while an answer is written, Ctrl-C above all, out of the answer."""
    if not at_a_terminal():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    quiet = termios.tcgetattr(sys.stdin)
    quiet[3] &= ~termios.ECHO
    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def from_pipe() -> str | None:
    """Read a line of stdin, without its end; None at its end.

    Raises
    ------
    C4nError
        Too long, or not UTF-8.
    """
    if sys.stdin is None:
        return None
    line = sys.stdin.buffer.readline(_MAX_BYTES + 1)
    if not line:
        return None
    if len(line) > _MAX_BYTES:
        raise C4nError(f"stdin: a line longer than {_MAX_BYTES >> 20} MiB, which is no message")
    try:
        return line.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        said = f"not UTF-8 text (byte {error.start} of a line); send it as UTF-8"
        raise C4nError(f"stdin: {said}") from None


def from_terminal(commands: list[str], hint: Callable[[], None]) -> ReadLine:
    """Return what reads messages at a terminal: Enter sends, Alt-Enter begins another line.

    Parameters
    ----------
    commands : list of str
        Completed with Tab.
    hint : callable
        Called after Ctrl-C, which empties the line: how to leave.
    """
    session = _session(commands)

    def read() -> str | None:
        while True:
            try:
                return session.prompt(_PROMPT, prompt_continuation=_MORE)
            except KeyboardInterrupt:
                hint()
            except EOFError:
                return None

    return read


def _session(commands: list[str]) -> PromptSession[str]:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import WordCompleter
    from prompt_toolkit.history import FileHistory, History, InMemoryHistory
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

    keys = KeyBindings()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    history: History = InMemoryHistory()
    folder = state_folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = folder / "chat_history"
        file.touch(mode=0o600)
        history = FileHistory(str(file))
    except OSError:
        pass  # a home that cannot be written to: the history ends with the program
    return PromptSession(
        history=history,
        multiline=True,
        key_bindings=keys,
        completer=WordCompleter(commands, sentence=True),
        complete_while_typing=False,
    )
