"""What a speed needs for context: the memory bandwidth, and how busy other programs were."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from statistics import harmonic_mean

from tvm_c4n.errors import C4nError
from tvm_c4n.runtime.contention import CpuContention

HERE = Path(__file__).parent
# Models, artifacts and programs that the benchmarks make.
CACHE = HERE.parent / "build" / "bench"
# More than twice the last-level cache that a core of a shared machine can count on.
_GIB = 1
_PASSES = 4


def wait_for_quiet(patience_secs: float) -> None:
    """Wait until other processes take less than a tenth of a core, `patience_secs` at most."""
    end = time.monotonic() + patience_secs
    while time.monotonic() < end:
        with CpuContention() as others:
            time.sleep(0.5)
        if others.cores < 0.1:
            return


def compile_c(source: Path, *flags: str) -> Path:
    """Compile a C program into the cache, unless a newer one is there.

    Raises
    ------
    C4nError
        There is no C compiler, or it refuses the program.
    """
    program = CACHE / "programs" / source.stem
    if program.exists() and program.stat().st_mtime > source.stat().st_mtime:
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    command = [os.environ.get("CC", "cc"), "-O3", *flags, str(source), "-o", str(program)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise C4nError(f"{command[0]}: {error.strerror}: install a C compiler") from None
    if done.returncode:
        raise C4nError(f"{source}: {done.stderr.strip().splitlines()[-1]}")
    return program


def measure_bandwidth(threads: list[int]) -> dict[int, dict[str, float]]:
    """Measure the read bandwidth of main memory.

    Returns
    -------
    dict
        GB/s over all passes, by number of threads and read method (see bandwidth.c). The mean and
        not the best pass counts: a model's speed is not that of its best step either, and on a
        shared machine the two differ by a third.
    """
    program = compile_c(HERE / "bandwidth.c", "-march=native", "-fopenmp")
    command = [str(program), str(_GIB), str(_PASSES), *map(str, threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    passes: dict[int, dict[str, list[float]]] = {count: {} for count in threads}
    for line in done.stdout.splitlines():
        count, way, speed = line.split()
        passes[int(count)].setdefault(way, []).append(float(speed))
    return {
        count: {way: harmonic_mean(speeds) for way, speeds in ways.items()}
        for count, ways in passes.items()
    }
