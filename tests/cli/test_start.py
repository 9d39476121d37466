"""The command line starts at once, and says what went wrong in one line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tvm_c4n
from tvm_c4n.cli import app
from tvm_c4n.errors import DeviceError, RecipeError

ROOT = Path(tvm_c4n.__file__).parents[1]
# Not pydantic: typer itself imports it for a command's options.
HEAVY = ("tvm", "torch", "transformers", "numpy", "tokenizers", "safetensors", "tvm_c4n.sparsity")
VERBS = ("prune", "inspect", "compile", "run", "eval", "bench")


def start(*args, program="from tvm_c4n.cli.app import main; main()"):
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", program, *args],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
        check=False,
    )


def test_help_imports_nothing_heavy():
    program = (
        "import sys, json\n"
        "from tvm_c4n.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print(json.dumps([name for name in {HEAVY} if name in sys.modules]), file=sys.stderr)"
    )
    for args in (["--help"], ["prune", "--help"], ["--version"]):
        assert json.loads(start(*args, program=program).stderr) == []


# What typer and rich take by themselves: how long that is depends on the machine.
EMPTY = """
import typer

app = typer.Typer()

@app.command()
def one(number: int = 1):
    "Do nothing."

@app.command()
def two(number: int = 1):
    "Do nothing."

app()
"""


@pytest.mark.parametrize("args", [["--help"], ["prune", "--help"]])
def test_help_takes_little_longer_than_that_of_an_empty_program(args):
    def processor_secs(*given, **how):
        before = os.times()
        assert start(*given, **how).returncode == 0
        after = os.times()
        user = after.children_user - before.children_user
        return user + after.children_system - before.children_system

    # The processor's time, not the clock's: other tests run beside this one. The best of three,
    # because the first start of all compiles the modules.
    ours, empty = [], []
    for _ in range(3):
        ours.append(processor_secs(*args))
        empty.append(processor_secs("one", "--help", program=EMPTY))
    assert min(ours) < 1.3 * min(empty)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(call, verb):
    result = call(verb, "--help")
    assert result.code == 0
    assert f"tvm-c4n {verb}" in result.out


def test_version(call):
    assert call("--version").out.split() == ["tvm-c4n", tvm_c4n.__version__]


def test_a_wrong_option_is_the_users_error(call):
    result = call("prune", "--no-such-option")
    assert result.code == 2
    assert "no-such-option" in result.err


@pytest.mark.parametrize(
    ("error", "code"), [(RecipeError("two\nlines"), 2), (DeviceError("two  lines"), 1)]
)
def test_our_errors_are_one_line_with_their_exit_code(call, monkeypatch, error, code):
    monkeypatch.setattr(app, "app", lambda: raise_(error))
    result = call()
    assert (result.code, result.out) == (code, "")
    assert result.err == "error: two lines\n"


def test_other_errors_point_to_debug(call, monkeypatch):
    monkeypatch.setattr(app, "app", lambda: raise_(KeyError("lost")))
    result = call()
    assert result.code == 1
    assert result.err.count("\n") == 1
    assert "KeyError" in result.err
    assert "--debug" in result.err


def test_debug_shows_the_traceback(tmp_path):
    missing = str(tmp_path / "none")
    assert "Traceback" not in start("inspect", missing).stderr
    shown = start("--debug", "inspect", missing)
    assert shown.returncode == 1
    assert "Traceback" in shown.stderr
    assert "CheckpointError" in shown.stderr


def test_ctrl_c_leaves_with_130(call, monkeypatch):
    monkeypatch.setattr(app, "app", lambda: raise_(KeyboardInterrupt()))
    result = call()
    assert (result.code, result.out, result.err) == (130, "", "")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM)]
)
def test_an_interrupt_in_the_middle_leaves_nothing(tmp_path, number, code):
    args = ["prune", "mamba-19m", "-o", str(tmp_path / "out")]
    program = "from tvm_c4n.cli.app import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, *args],
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    deadline = time.monotonic() + 60
    while not any(tmp_path.iterdir()):  # the temporary folder beside OUT
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    assert process.wait(timeout=200) == code
    assert list(tmp_path.iterdir()) == []


def raise_(error):
    raise error
