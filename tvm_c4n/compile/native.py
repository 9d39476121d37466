"""Build `c4n_run` and `libc4n`, which run models without Python, into a folder that holds all.

The sources are in ``tvm_c4n/runtime/native``; a C++17 compiler for the target is needed, and TVM's
runtime libraries for it: this machine's wheel has those of this machine, `fetch_runtime` gets
those of arm64 Linux. For Android they are built from TVM's sources with the NDK
(docs/guides/phone.md).
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from tvm_c4n._tvm import system_triple
from tvm_c4n.checkpoint.files import copy_file, reserve, write_atomically
from tvm_c4n.checkpoint.transaction import FolderTransaction
from tvm_c4n.compile.elf import read_elf
from tvm_c4n.compile.linker import android_clang, system_of
from tvm_c4n.compile.target import NAMED
from tvm_c4n.errors import TargetError

PROGRAM, LAUNCHER, LIBRARY = "c4n_run", "run.sh", "libc4n.so"
HEADER = Path("include/c4n.h")
RUNTIME = ("libtvm_runtime.so", "libtvm_ffi.so")
SOURCES = Path(__file__).parents[1] / "runtime" / "native"

_LOADER = "ld-linux-aarch64.so.1"
# What goes beside the program, by target. For arm64 Linux its C library too: systems may have
# another one (Android) or an older one.
_BESIDE = {
    "host": (),
    "arm64-linux": (
        *(_LOADER, "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1"),
        *("libstdc++.so.6", "libgcc_s.so.1"),
    ),
    "arm64-android": ("libc++_shared.so",),
}
_RUN = 'exec "$here/c4n_run" "$@"'
_RUN_BY_LOADER = f'exec "$here/{_LOADER}" --library-path "$here" "$here/c4n_run" "$@"'
_COMPILE_SECS = 600
_PROGRAM_BYTES = 4 << 20


def build_runner(
    out: Path, target: str = "host", *, runtime: Path | None = None, overwrite: bool = False
) -> Path:
    """Build the runner; the folder appears whole or not at all.

    Parameters
    ----------
    out : Path
        Gets ``c4n_run``, TVM's runtime libraries, and ``run.sh``, which starts it; and for programs
        of one's own ``libc4n.so``, which it is made of, and ``include/c4n.h``. For
        ``"arm64-linux"`` also the C library and its loader: the folder then runs on every arm64
        Linux kernel, Android's among them.
    target : str
        ``"host"``, ``"arm64-linux"`` or ``"arm64-android"``.
    runtime : Path, optional
        Folder of TVM's runtime libraries for the target; default: this machine's, for ``"host"``.
    overwrite : bool
        Replace an existing runner.

    Returns
    -------
    Path
        The launcher.

    Raises
    ------
    TargetError
        Unknown target, no compiler, or libraries that are missing or for another machine.
    """
    triple = _triple(target)
    libraries = _libraries(target, triple, runtime)
    compiler = _compiler(target, triple)
    with FolderTransaction(out, overwrite, lambda path: (path / PROGRAM).is_file()) as transaction:
        folder = transaction.folder
        for library in libraries:
            copy_file(library, folder / library.name)
        reserve(folder, _PROGRAM_BYTES)
        _build(compiler, folder, libraries)
        for name in _BESIDE[target]:
            copy_file(_file_of(compiler, name), folder / name)
        start = _RUN
        if (folder / _LOADER).is_file():
            (folder / _LOADER).chmod(0o755)
            start = _RUN_BY_LOADER
        launcher = folder / LAUNCHER
        here = 'here=$(cd "$(dirname "$0")" && pwd)'
        write_atomically(launcher, f"#!/bin/sh\n{here}\nunset LD_PRELOAD\n{start}\n")
        launcher.chmod(0o755)
    return out / LAUNCHER


def fetch_runtime(folder: Path, names: tuple[str, ...] = RUNTIME) -> None:
    """Download TVM's runtime libraries for arm64 Linux, of the versions that are installed here.

    Parameters
    ----------
    folder : Path
        Gets the libraries.
    names : tuple of str
        File names of the libraries.

    Raises
    ------
    TargetError
        pip fails, or a library is in none of the wheels.
    """
    wanted = set(names)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as wheels:
        packages = [f"{name}=={version(name)}" for name in ("apache-tvm", "apache-tvm-ffi")]
        for package in packages:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            command += ["--disable-pip-version-check", "--only-binary=:all:"]
            command += ["--platform", "manylinux_2_28_aarch64", "--dest", wheels, package]
            _run(command, f"download {package} for arm64")
        for wheel in Path(wheels).glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                for member in archive.namelist():
                    name = Path(member).name
                    if name in wanted:
                        (folder / name).write_bytes(archive.read(member))
                        wanted.remove(name)
    if wanted:
        raise TargetError(f"not in the arm64 wheels of TVM: {', '.join(sorted(wanted))}")


def _triple(target: str) -> str:
    if target == "host":
        return system_triple()
    if target in _BESIDE:
        return str(NAMED[target]["mtriple"])
    raise TargetError(f"unknown target {target!r}; known are {', '.join(_BESIDE)}")


def _libraries(target: str, triple: str, folder: Path | None) -> list[Path]:
    """Find TVM's runtime libraries, for the right machine."""
    if folder is not None:
        found = [folder / name for name in RUNTIME]
    elif target == "host":
        homes = [package_folder(name) / "lib" for name in ("tvm", "tvm_ffi")]
        found = [home / name for home, name in zip(homes, RUNTIME, strict=True)]
    else:
        remedy = (
            "tvm-c4n runner --fetch gets them"
            if target == "arm64-linux"
            else "build them from TVM's sources with the NDK, see docs/guides/phone.md"
        )
        raise TargetError(
            f"a runner for {target} needs TVM's runtime libraries for it: give their folder with "
            f"--runtime; {remedy}"
        )
    for library in found:
        if not library.is_file():
            raise TargetError(f"{library} is missing: it is part of TVM's runtime for {target}")
        machine, expected = read_elf(library).machine, triple.split("-")[0]
        if machine != expected:
            raise TargetError(f"{library} is for {machine}, the runner for {expected}")
    return found


def package_folder(name: str) -> Path:
    """Return the folder of an installed Python package, which is not imported.

    Raises
    ------
    TargetError
        There is none.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise TargetError(f"the Python package {name} has no folder: install it with pip")
    return Path(spec.origin).parent


def _compiler(target: str, triple: str) -> list[str]:
    if system_of(triple) == "android":
        found = android_clang(triple, "clang++")
        if found is None:
            raise TargetError("set ANDROID_NDK_HOME to an Android NDK: its clang++ is needed")
        return found
    if target == "host":
        if named := shlex.split(os.environ.get("CXX", "")):
            return named
        names, package = ["c++", "g++", "clang++"], "g++"
    else:
        names, package = ["aarch64-linux-gnu-g++"], "g++-aarch64-linux-gnu"
    for name in names:
        if path := shutil.which(name):
            return [path]
    raise TargetError(f"no C++ compiler for {target}: on Debian, apt-get install {package}")


def _build(compiler: list[str], folder: Path, libraries: list[Path]) -> None:
    """Build the library, the program upon it, and copy the header."""
    (folder / HEADER.parent).mkdir()
    copy_file(SOURCES / HEADER.name, folder / HEADER)
    with tempfile.TemporaryDirectory() as made, ThreadPoolExecutor() as pool:
        units = [_unit(SOURCES / name, Path(made)) for name in (".", "text", "run")]
        *own, program = pool.map(lambda unit: _object(compiler, unit), units)
        # TVM's runtime has to be in the process, whether anything here calls it or not.
        tvm = ["-Wl,--no-as-needed", *map(str, libraries), "-Wl,--as-needed"]
        named = ["-shared", f"-Wl,-soname,{LIBRARY}"]
        _link(compiler, [*named, *own, *tvm], folder / LIBRARY)
        _link(compiler, [program, str(folder / LIBRARY), *tvm], folder / PROGRAM)


def _unit(sources: Path, folder: Path) -> Path:
    """Write a source that includes all of a folder: headers, TVM's above all, are read once."""
    unit = folder / f"{sources.resolve().name}.cpp"
    lines = [f'#include "{source.resolve()}"\n' for source in sorted(sources.glob("*.cpp"))]
    unit.write_text("".join(lines))
    return unit


def _object(compiler: list[str], source: Path) -> str:
    """Compile a source; returns the object file."""
    include, target = package_folder("tvm_ffi") / "include", source.with_suffix(".o")
    flags = ["-std=c++17", "-O2", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra"]
    flags += ["-isystem", str(include), *shlex.split(os.environ.get("CXXFLAGS", ""))]
    _run([*compiler, *flags, "-c", str(source), "-o", str(target)], f"compile {source.name}")
    return str(target)


def _link(compiler: list[str], parts: list[str], out: Path) -> None:
    # What the libraries themselves need is on the device, not here. Old phones' loaders know
    # DT_RUNPATH too; 16 KiB pages are what new ones have.
    flags = ["-Wl,--allow-shlib-undefined", "-Wl,-rpath,$ORIGIN", "-Wl,-z,max-page-size=16384"]
    _run([*compiler, *parts, "-o", str(out), *flags, "-s"], f"link {out.name}")


def _file_of(compiler: list[str], name: str) -> Path:
    """Ask the compiler where a library of its system is."""
    command = [*compiler, f"-print-file-name={name}"]
    found = Path(_run(command, f"find {name}").strip())
    if not found.is_absolute() or not found.is_file():
        raise TargetError(f"{compiler[0]} has no {name}")
    return found.resolve()


def _run(command: list[str], what: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - a list, never a shell; the tools are the user's own
            command, capture_output=True, text=True, check=False, timeout=_COMPILE_SECS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TargetError(f"cannot {what}: {error}") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        raise TargetError(f"cannot {what}: {(lines or [done.stderr.strip()[-300:]])[0]}")
    return done.stdout
