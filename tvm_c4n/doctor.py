"""What this machine and this installation can do, and what to install for the rest."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec

from tvm_c4n._tvm import compiler_version, tvm
from tvm_c4n._version import __version__
from tvm_c4n.compile.linker import linker_for, system_of
from tvm_c4n.compile.records import shipped_for
from tvm_c4n.compile.target import resolve_target, triple_of
from tvm_c4n.errors import TargetError
from tvm_c4n.extras import EXTRAS, pip_command
from tvm_c4n.ops.isa import isa_of
from tvm_c4n.runtime.bandwidth import read_bandwidth
from tvm_c4n.runtime.describe import cpu_model, cpu_name
from tvm_c4n.runtime.thread_pool import default_threads

_BANDWIDTH_SECS = 1.0
_TARGETS = ("host", "arm64-linux", "arm64-android")


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes
    ----------
    what : str
        What was looked at, for example ``"linker for arm64-android"``.
    found : str
    advice : str
        What to do about it; empty where nothing is to be done.
    """

    what: str
    found: str
    advice: str = ""


def examine() -> Iterator[Finding]:
    """Look at one thing after the other; memory, which takes a second, comes last."""
    target = resolve_target("host")
    yield Finding("tvm_c4n", f"{__version__}, Python {platform.python_version()}")
    yield Finding("TVM", f"{tvm.__version__}, LLVM {compiler_version()}")
    which = ", ".join(filter(None, [cpu_name(), cpu_model(), f"{default_threads()} cores"]))
    yield Finding("CPU", which)
    yield _kernels(target)
    yield _records(target)
    for name in _TARGETS:
        yield _linker(name)
    yield _adb()
    yield from _extras()
    bandwidth = read_bandwidth(_BANDWIDTH_SECS) / 1e9
    yield Finding("memory", f"reads {bandwidth:.1f} GB/s with {default_threads()} threads")


def _kernels(target: tvm.target.Target) -> Finding:
    isa = isa_of(target)
    if isa.needs:
        return Finding("kernels", f"{isa.name} ({', '.join(isa.needs)})")
    advice = "this CPU has neither AVX2 nor Arm's dot product: expect a tenth of the speed"
    return Finding("kernels", isa.name, advice)


def _records(target: tvm.target.Target) -> Finding:
    records = shipped_for(target)
    if records is not None:
        return Finding("records", f"{len(records.best)} tuned kernels of this package fit")
    return Finding(
        "records", "none for this CPU: kernels have their defaults", "tvm-c4n tune MODEL"
    )


def _linker(name: str) -> Finding:
    triple = triple_of(resolve_target(name))
    try:
        linker = linker_for(triple, system_of(triple))
    except TargetError as error:
        return Finding(f"links {name}", "no", str(error).partition(": ")[2])
    return Finding(f"links {name}", " ".join(linker.command))


def _adb() -> Finding:
    if path := shutil.which("adb"):
        return Finding("adb", path)
    return Finding("adb", "no", "install Android's platform tools, to run on a phone over USB")


def _extras() -> Iterator[Finding]:
    for extra, modules in EXTRAS.items():
        missing = [name for name in modules if find_spec(name) is None]
        said = f"without {', '.join(missing)}" if missing else "yes"
        yield Finding(f"extra {extra}", said, pip_command(extra) if missing else "")
