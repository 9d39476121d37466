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

ROOT = Path(tvm_c4n.__file__).parents[1]
# Not pydantic: typer itself imports it for a command's options.
HEAVY = ("tvm", "torch", "transformers", "numpy", "tokenizers", "safetensors", "tvm_c4n.sparsity")


def start(*args, program="from tvm_c4n.cli.app import main; main()", variables=None):
    """Run the command line in a process of its own."""
    # `prune` sets it, in this process too where a test called it here.
    mine = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    return subprocess.run(
        [sys.executable, "-c", program, *args],
        capture_output=True,
        text=True,
        env={**mine, "PYTHONPATH": str(ROOT), **(variables or {})},
        timeout=200,
        check=False,
    )


def test_help_imports_nothing_heavy():
    program = (
        "import sys, json\n"
        "from tvm_c4n.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print(json.dumps([name for name in {HEAVY} if name in sys.modules]), file=sys.stderr)"
    )
    for args in (["--help"], ["prune", "--help"]):
        assert json.loads(start(*args, program=program).stderr) == []


# What typer and rich import by themselves for their own help.
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
def test_help_imports_little_more_than_that_of_an_empty_program(args):
    # Modules, not seconds: what a start takes beyond typer is what it imports, and a count does
    # not depend on what else the machine does.
    def modules(*given, program):
        report = (
            "import atexit, json, sys\n"
            "atexit.register(lambda: print(json.dumps(list(sys.modules)), file=sys.stderr))\n"
        )
        ended = start(*given, program=report + program)
        assert ended.returncode == 0
        return set(json.loads(ended.stderr.splitlines()[-1]))

    ours = modules(*args, program="from tvm_c4n.cli.app import main; main()")
    empty = modules("one", "--help", program=EMPTY)
    own = {name for name in ours if name.split(".")[0] == "tvm_c4n"}
    assert len(own) < 45  # a module for each verb, and what they share
    assert {name.split(".")[0] for name in ours - own - empty} <= {"rich", *sys.stdlib_module_names}
    assert len(ours - own) < len(empty) + 20


def test_ctrl_c_while_modules_are_loaded_prints_nothing(tmp_path):
    # The first statement that takes time is the import of the verbs.
    slow = tmp_path / "typer.py"
    slow.write_text("import os, time\nos.write(1, b'loading')\ntime.sleep(600)\n")
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    process = subprocess.Popen(
        [sys.executable, "-c", listen + "from tvm_c4n.cli.app import main; main()"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
    )
    assert process.stdout.read(7) == b"loading"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=200) == (b"", b"")
    assert process.returncode == 130


def test_debug_shows_the_traceback(tmp_path):
    missing = str(tmp_path / "none")
    assert "Traceback" not in start("inspect", missing).stderr
    shown = start("--debug", "inspect", missing)
    assert shown.returncode == 1
    assert "Traceback" in shown.stderr
    assert "CheckpointError" in shown.stderr


def test_what_libraries_log_is_shown_with_debug_only():
    program = (
        "import logging\n"
        "from tvm_c4n.cli import app, verbs\n"
        "@verbs.app.command()\n"
        "def log():\n"
        "    logging.getLogger('a.library').warning('building the font cache')\n"
        "    logging.getLogger('a.library').error('broken')\n"
        "app.main()\n"
    )
    assert start("log", program=program).stderr == "broken\n"
    assert start("--debug", "log", program=program).stderr == "building the font cache\nbroken\n"


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM)]
)
def test_an_interrupt_in_the_middle_leaves_nothing(tmp_path, number, code):
    args = ["prune", "mamba-19m", "-o", str(tmp_path / "out")]
    # A shell's background job ignores SIGINT, and so would whatever these tests start.
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    program = listen + "from tvm_c4n.cli.app import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, *args],
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    deadline = time.monotonic() + 200
    while not any(tmp_path.iterdir()):  # the temporary folder beside OUT
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    assert process.wait(timeout=200) == code
    assert list(tmp_path.iterdir()) == []


def test_idle_threads_of_torch_do_not_spin_while_it_prunes(small_model, tmp_path):
    # What libgomp says of itself when torch loads it; 300000 is what it does without being told.
    args = ("prune", str(small_model), "-o", str(tmp_path / "out"), "--method", "magnitude")
    said = start(*args, "--samples", "2", variables={"OMP_DISPLAY_ENV": "VERBOSE"}).stderr
    assert "GOMP_SPINCOUNT = '0'" in said
