"""Runs a command line in a process of its own, with limits of time and memory."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

# Beyond what the process has when it starts, nearly all of it libraries. Threads' stacks count.
MEMORY_BYTES = 4 << 30
# Seconds of the processor, and of the clock: a machine that is busy takes long, too.
LIMIT_CPU_SECS = 60
LIMIT_SECS = 300
_POLL_SECS = 0.01
# The exit code of an exception that left the command line.
_ESCAPED = 99


def warm() -> None:
    """Import what the verbs import, so that forked processes need not; starts no threads."""
    import torch

    import tvm_c4n.cli.verbs
    import tvm_c4n.compile.artifact
    import tvm_c4n.compile.cache
    import tvm_c4n.compile.native
    import tvm_c4n.evaluate.evaluation
    import tvm_c4n.evaluate.scoring
    import tvm_c4n.evaluate.tasks
    import tvm_c4n.healing
    import tvm_c4n.inspect.summary
    import tvm_c4n.pruning
    import tvm_c4n.pruning.allocation.plots
    import tvm_c4n.runtime.bench
    import tvm_c4n.runtime.device.remote
    import tvm_c4n.runtime.engine
    import tvm_c4n.tuning.run  # noqa: F401

    torch.set_num_threads(1)
    threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208
    if threads > 1:
        raise RuntimeError(f"{threads} threads: a forked process would hang at their locks")


@dataclass(frozen=True)
class Outcome:
    """How a command line ended.

    Attributes
    ----------
    code : int
        Exit code; of a process that a signal ended its negative number.
    out, err : str
    timed_out : bool
    secs : float
        Without the time in which the machine stopped this program.
    """

    code: int
    out: str
    err: str
    timed_out: bool
    secs: float


def run(command: tuple[str, ...], folder: Path, beside: Path) -> Outcome:
    """Run a command line in a folder.

    Parameters
    ----------
    command : tuple of str
        Arguments of ``tvm-c4n``, or a program in the folder if the first one is a path.
    folder : Path
    beside : Path
        Gets stdout, stderr and the process's temporary files.
    """
    process = os.fork()
    if process == 0:
        try:
            _become(command, folder, beside)
        except BaseException:
            traceback.print_exc()
            os._exit(_ESCAPED)
    timed_out, waited, before = False, 0.0, time.monotonic()
    while not (ended := os.waitpid(process, os.WNOHANG))[0]:
        time.sleep(_POLL_SECS)
        now = time.monotonic()
        # Who was stopped as a whole, or got no time at all, has not waited for the process.
        waited, before = waited + min(now - before, 1.0), now
        if waited > LIMIT_SECS and not timed_out:
            timed_out = True
            os.killpg(process, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(ended[1])
    said = [(beside / name).read_text(errors="backslashreplace") for name in ("out", "err")]
    return Outcome(code, said[0], said[1], timed_out, waited)


def _become(command: tuple[str, ...], folder: Path, beside: Path) -> None:
    """Turn this process into the command; does not return."""
    os.setsid()
    (beside / "tmp").mkdir()
    (beside / "in").write_text("1 2 3")
    for number, name in enumerate(("in", "out", "err")):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(beside / name, flags), number)
    os.chdir(folder)
    cache = folder / "cache" if (folder / "cache").exists() else beside / "cache"
    os.environ.update(TMPDIR=str(beside / "tmp"), XDG_CACHE_HOME=str(cache))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT_CPU_SECS, LIMIT_CPU_SECS + 5))
    limit = _address_bytes() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    if "/" in command[0]:
        os.execv(command[0], command)
    from tvm_c4n.cli.app import main

    # The streams of this process, whatever the one that forked it has made of them.
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
        for number, mode in enumerate(("r", "w", "w"))
    )
    sys.argv = ["tvm-c4n", *command]
    code = 0
    try:
        main()
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _address_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
