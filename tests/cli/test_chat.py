"""`tvm-c4n chat`: over a pipe, and at a pseudo terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

Call = Callable[..., Any]


def lines(*said: str) -> bytes:
    return ("\n".join(said) + "\n").encode()


def test_a_line_of_a_pipe_is_a_turn(call: Call, artifact: Path) -> None:
    args = ["chat", artifact, "-n", "6", "-t", "1", "--seed", "1"]
    done = call(*args, stdin=lines("w1 w2", "w3"))
    assert (done.code, done.err) == (0, "")
    answers = done.out.split("\n")
    assert len(answers) == 3 and answers[2] == ""
    assert done.out == call(*args, stdin=lines("w1 w2", "w3")).out
    assert call(*args, stdin=lines("w1 w2")).out == answers[0] + "\n"
    assert call(*args, stdin=b"w1 w2").out == answers[0] + "\n"
    assert call(*args, stdin=b"").out == ""


def test_commands(call: Call, artifact: Path, tmp_path: Path) -> None:
    state = tmp_path / "a b.state"
    args = ["chat", artifact, "-n", "6", "-t", "1", "--seed", "1", "--temp", "0"]
    said = ["w1 w2", "/stats", f"/save {state}", "w3", "/undo", "w3", "/reset", "w1 w2"]
    said += [f"/load {state}", "w3", "/help", "/quit", "w9"]
    done = call(*args, stdin=lines(*said))
    assert done.code == 0
    first, second, again, anew, loaded = done.out.splitlines()
    assert (again, anew, loaded) == (second, first, second)
    told = done.err.splitlines()
    assert re.match(r"last turn: prompt: 3 tokens, .*; generated: \d tokens", told[0])
    assert re.fullmatch(r"text: \d+ tokens in 1 turn; states: \d kept, .* MB; .* MB", told[1])
    assert re.fullmatch(rf"saved \d+ tokens in {re.escape(str(state))}", told[2])
    assert told[3] == "taken back; 1 turn is left"
    assert told[4] == "a new text begins"
    assert re.fullmatch(rf"loaded \d+ tokens from {re.escape(str(state))}:", told[5])
    assert told[6].startswith("w1 w2") or first in told[6]
    assert "/reset        begin anew" in done.err
    # The state goes on in `run`, and with --load-state.
    more = call(*args, "--load-state", state, stdin=lines("w3"))
    assert more.out == second + "\n"
    assert call("run", artifact, "--load-state", state, "-p", "w3", "-n", "2").code == 0


def test_errors_are_told_and_the_chat_goes_on(call: Call, artifact: Path, tmp_path: Path) -> None:
    said = ["/nope", "/undo", "/save", "/load", f"/save {tmp_path}/none/a", "/system a", "w1"]
    said += [f"/load {tmp_path / 'none'}", f"/save {tmp_path}/none/a", "//nope"]
    done = call("chat", artifact, "-n", "4", "-t", "1", stdin=lines(*said))
    assert done.code == 0
    assert len(done.out.splitlines()) == 2
    assert done.err.splitlines() == [
        "error: /nope: no such command; /help lists them",
        "error: there is no turn to take back",
        "error: /save needs the name of a file",
        "error: /load needs the name of a file",
        "error: there is nothing to save yet: say something first",
        "error: this model has no chat template and so no system: write it into the text",
        f"error: {tmp_path}/none: missing file; give a file that --save-state, or /save in a "
        "chat, has written",
        f"error: {tmp_path}/none/a: cannot write: No such file or directory",
    ]


class Terminal:
    """A program at a pseudo terminal of 80 columns."""

    def __init__(self, *command: str, home: Path) -> None:
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm", COLUMNS="80", LINES="24", HOME=str(home))
            os.environ["XDG_STATE_HOME"] = str(home / "state")
            # What prompt_toolkit asks a terminal is not answered here.
            os.environ["PROMPT_TOOLKIT_NO_CPR"] = "1"
            os.execv(command[0], command)
        self.shown = ""

    def wait_for(self, text: str, secs: float = 40) -> str:
        """Read until a text is shown; returns what came, without its control sequences."""
        end = time.monotonic() + secs
        while text not in self.shown:
            ready = select.select([self.descriptor], [], [], max(0, end - time.monotonic()))[0]
            assert ready, f"{text!r} is not in {self.shown!r}"
            try:
                data = os.read(self.descriptor, 1 << 16)
            except OSError:  # Linux: the program has ended
                data = b""
            assert data, f"{text!r} is not in {self.shown!r}"
            self.shown += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", data.decode(errors="replace"))
        before, _, self.shown = self.shown.partition(text)
        return before

    def type(self, text: str) -> None:
        """Type keys."""
        os.write(self.descriptor, text.encode())

    def exit_code(self) -> int:
        """Wait for the program's end."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


Start = Callable[..., Terminal]


@pytest.fixture
def start(artifact: Path, tmp_path: Path) -> Iterator[Start]:
    """``start(*options) -> Terminal`` with a chat."""
    started: list[Terminal] = []

    def begin(*options: str) -> Terminal:
        command = [sys.executable, "-m", "tvm_c4n.cli.app", "chat", str(artifact), "-t", "1"]
        started.append(Terminal(*command, *options, home=tmp_path))
        return started[-1]

    yield begin
    for terminal in started:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(terminal.pid, signal.SIGKILL)
            os.waitpid(terminal.pid, 0)
        os.close(terminal.descriptor)


def test_ctrl_c_stops_the_answer_and_not_the_program(start: Start, tmp_path: Path) -> None:
    terminal = start("-n", "100000000")
    terminal.wait_for("continues texts")
    terminal.wait_for("\n>")
    terminal.type("w1 w2\r")
    terminal.wait_for("w")  # the words are echoed, then answered
    time.sleep(0.1)
    terminal.type("\x03")
    terminal.wait_for("\n>")
    terminal.type("/stats\r")
    terminal.wait_for("text: ")
    terminal.wait_for(" tokens in 1 turn;")
    terminal.wait_for("\n>")
    terminal.type("half\x03")  # at the prompt it empties the line
    terminal.wait_for("Ctrl-D or /quit ends the chat")
    terminal.wait_for("\n>")
    terminal.type("\x04")
    assert terminal.exit_code() == 0
    history = (tmp_path / "state" / "tvm-c4n" / "chat_history").read_text()
    assert "+w1 w2\n" in history and "+/stats\n" in history and "half" not in history


def test_a_message_may_have_lines(start: Start, tmp_path: Path) -> None:
    terminal = start("-n", "4")
    terminal.wait_for("\n>")
    terminal.type("w1\x1b\rw2\r")  # Alt-Enter between them
    terminal.wait_for("\n>")
    terminal.type("/stats\r")
    terminal.wait_for("prompt: 3 tokens")
    terminal.wait_for("tokens in 1 turn;")
    terminal.type("/quit\r")
    assert terminal.exit_code() == 0
    assert "+w1\n+w2\n" in (tmp_path / "state" / "tvm-c4n" / "chat_history").read_text()


def test_a_home_that_cannot_be_written_to_has_no_history(start: Start, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file in the folder's place")
    terminal = start()
    terminal.wait_for("\n>")
    terminal.type("\x04")
    assert terminal.exit_code() == 0


def test_ctrl_c_between_answers_of_a_pipe_ends_the_program(artifact: Path) -> None:
    # Whoever runs the tests in the background has them ignore SIGINT, and all that they start.
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code = listen + "from tvm_c4n.cli.app import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "chat", str(artifact), "-n", "4", "-t", "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin and process.stdout
    process.stdin.write(b"w1\n")
    process.stdin.flush()
    assert process.stdout.readline()
    # The line may be there before the answer is done with, which the first signal then ends.
    for _ in range(60):
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(1)
            break
    _, err = process.communicate(timeout=60)
    # A second signal may meet Python's own end, where nobody listens: shells call both 130, and
    # one that nobody had listened to before would show a traceback.
    assert (process.returncode in (130, -signal.SIGINT), err) == (True, b""), process.returncode
