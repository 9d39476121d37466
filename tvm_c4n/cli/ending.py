"""How a command ends that does not end well: what is printed, and with which exit code."""

from __future__ import annotations

import errno
import os
import signal
import sys
from types import FrameType

# Files that are written are named in errors: these come without a name from stdout.
_UNWRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
# --debug, and the signal that is ending this program (0: none).
_state: dict[str, int] = {"debug": False, "signal": 0}


def listen() -> None:
    """Make Ctrl-C and SIGTERM end the program as an error does: half-written folders are removed.

    A shell's background job ignores Ctrl-C, and so it stays.
    """
    _state.update(debug=False, signal=0)
    signal.signal(signal.SIGTERM, _end)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def show_tracebacks(debug: bool) -> None:
    """Let errors pass as they are, for `--debug`."""
    _state["debug"] = debug


def tracebacks_shown() -> bool:
    """Return whether `--debug` was given."""
    return bool(_state["debug"])


def interrupted() -> bool:
    """Return whether a signal is ending this program."""
    return bool(_state["signal"])


def code_after(error: BaseException) -> int:
    """Print an error in one line on stderr, unless a signal caused it; returns the exit code."""
    from tvm_c4n.errors import C4nError, one_line

    if isinstance(error, KeyboardInterrupt) or interrupted():
        return 128 + (_state["signal"] or signal.SIGINT)
    if isinstance(error, BrokenPipeError):
        # The reader of a pipe has gone. What Python still holds back for it must not raise again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    message, code = _line_and_code(error, C4nError)
    print(f"error: {one_line(message)}", file=sys.stderr)
    return code


def _line_and_code(error: BaseException, own: type[BaseException]) -> tuple[str, int]:
    """Say what happened; `--debug` is mentioned where the cause may lie in this program."""
    if isinstance(error, own):
        return str(error), int(getattr(error, "exit_code", 1))
    if isinstance(error, MemoryError):
        return "out of memory: use a smaller model, fewer --samples or a smaller --batch", 1
    if isinstance(error, OSError) and error.errno in _UNWRITTEN and not error.filename:
        return f"stdout cannot be written: {error.strerror}; make room, or send it elsewhere", 2
    if isinstance(error, OSError) and error.strerror:
        where = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        return f"{where}{error.strerror}", 2
    first = str(error).strip().split("\n")[0]
    cause = f"{type(error).__name__}: {first}" if first else type(error).__name__
    return f"{cause} (run again with --debug: tvm-c4n --debug ...)", 1


def _end(number: int, frame: FrameType | None) -> None:
    """Raise what ends the program; what TVM's C++ makes of it on the way may be another exception.

    So the signal is kept: whatever arrives at the top after it, the signal was the cause.
    """
    _state["signal"] = number
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)
