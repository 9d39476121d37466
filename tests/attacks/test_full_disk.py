"""A disk that is full, for real: a file system of some kB, mounted in a namespace of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Start = Callable[..., subprocess.CompletedProcess[str]]

_MOUNTED = """
set -e
mount -t tmpfs -o size="$1" tmpfs "$2"
disk=$2; shift 2
"$@" && code=0 || code=$?
find "$disk" -mindepth 1 >&2
exit $code
"""
FULL = r"the disk is full: [0-9.]+ [kM]B are free in \S+, [0-9.]+ [kM]B are needed; make room"


@pytest.fixture
def on_disk(tmp_path: Path) -> Start:
    """``on_disk(kilobytes, "prune", ..., out="...")``: the command line, writing to a small disk.

    Files that are left there stand behind the errors, one a line.
    """
    (tmp_path / "disk").mkdir()

    def start(kilobytes: int, *command: object) -> subprocess.CompletedProcess[str]:
        mounted = ["unshare", "-rm", "sh", "-c", _MOUNTED, "sh", f"{kilobytes}k", tmp_path / "disk"]
        return subprocess.run(
            [str(part) for part in [*mounted, *command]],
            capture_output=True,
            text=True,
            check=False,
            timeout=250,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    try:
        usable = start(100, "true").returncode == 0
    except FileNotFoundError:
        usable = False
    if not usable:
        pytest.skip("no file system can be mounted here: unshare -rm mount -t tmpfs")
    return start


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """The small disk's folder."""
    return tmp_path / "disk"


PROGRAM = [sys.executable, "-m", "tvm_c4n.cli.app"]


def check(done: subprocess.CompletedProcess[str], path: Path, *left: Path) -> None:
    """One line that names the path, what is full and what is needed; and what is left, if any."""
    line, *files = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert re.match(rf"error: {re.escape(str(path))}: cannot \w+: {FULL}", line), line
    assert sorted(files) == sorted(map(str, left))


@pytest.mark.slow
def test_prune_and_its_resume_folder(
    on_disk: Start, disk: Path, small_model: Path, words: Path, tmp_path: Path
) -> None:
    prune = [*PROGRAM, "prune", small_model, "--calibration", words, "--samples", "2", "-o"]
    check(on_disk(12, *prune, disk / "out"), disk / "out")
    check(on_disk(64, *prune, disk / "out"), disk / "out" / "model.safetensors")
    kept = disk / "kept"
    done = on_disk(36, *prune, tmp_path / "out", "--resume", kept)
    names = ("analysis", "layer-0000", "rotation")
    files = [kept, *(kept / f"{name}.safetensors" for name in names)]
    check(done, kept / "activations-0000.safetensors", kept / "run.json", *files)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "command",
    [
        "inspect {model}",
        "eval {art} --text {words} --window 64 --max-windows 2",
        "bench {art} -t 1 --n-prompt 4 --n-gen 4 -r 1 -o json",
        pytest.param("bench --profile {model} -t 1 -o json", marks=pytest.mark.slow),
    ],
)
def test_stdout(command: str, small_model: Path, small_artifact: Path, words: Path) -> None:
    """As ``> FILE`` on a full disk."""
    paths = {"model": small_model, "art": small_artifact, "words": words}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*PROGRAM, *(word.format(**paths) for word in command.split())],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=250,
        )
    said = "stdout cannot be written: No space left on device; make room, or send it elsewhere"
    assert (done.returncode, done.stderr.splitlines()[-1:]) == (2, [f"error: {said}"])
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_heal(on_disk: Start, disk: Path, small_model: Path, words: Path, tmp_path: Path) -> None:
    pruned = tmp_path / "n2"
    prune = ["prune", small_model, "-o", pruned, "--calibration", words, "--samples", "2"]
    subprocess.run([*PROGRAM, *map(str, prune)], check=True, capture_output=True)
    options = "--device cpu --tokens 384 --batch 2 --window 16 --held-out 4 --save-steps 5"
    heal = ["heal", pruned, "--teacher", small_model, "--data", words, *options.split()]
    done = on_disk(64, *PROGRAM, *heal, "-o", disk / "healed")
    check(done, disk / "healed.healing.safetensors")


@pytest.mark.slow
def test_compile_its_dump_and_the_cache(
    on_disk: Start, disk: Path, small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A linker's and LLVM's own words would name no path, and LLVM ends the process."""
    compile_ = [*PROGRAM, "compile", small_model, "-o"]
    check(on_disk(12, *compile_, disk / "art"), disk / "art" / "weights.bin")
    check(on_disk(200, *compile_, disk / "art"), disk / "art")
    dump = disk / "dump"
    done = on_disk(12, *compile_, tmp_path / "art", "--debug-dump", dump)
    check(done, dump / "1_dispatch.py", dump)
    assert not (tmp_path / "art").exists()
    monkeypatch.setenv("XDG_CACHE_HOME", str(disk / "cache"))
    done = on_disk(200, *PROGRAM, "run", small_model, "-p", "w1")
    assert done.returncode == 2
    assert re.search(rf"\nerror: {disk}/cache/\S+/small: cannot write: {FULL}", done.stderr)
    assert not [line for line in done.stderr.splitlines() if "tmp" in Path(line).name]


@pytest.mark.slow
def test_runner(on_disk: Start, disk: Path, host_compiler: None) -> None:
    done = on_disk(100, *PROGRAM, "runner", "-o", disk / "runner")
    check(done, disk / "runner" / "libtvm_runtime.so")


def test_exported_records(on_disk: Start, disk: Path) -> None:
    shipped = Path(__file__).parents[2] / "schedules" / "records" / "xeon-avx512-2-threads"
    done = on_disk(8, *PROGRAM, "records", shipped, "--export", disk / "out")
    check(done, disk / "out" / "best.json")
