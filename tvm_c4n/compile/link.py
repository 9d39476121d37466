"""Link compiled objects to a shared library, for this machine or for a phone.

The linker is told which libraries the result needs by empty stand-ins that carry only a name:
neither a C library nor the NDK has to be on the machine
(docs/decisions/linking-without-ndk.md).
"""

from __future__ import annotations

import struct
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tvm_c4n.compile.elf import read_head, read_machine
from tvm_c4n.compile.linker import Linker, arch_of, linker_for, system_of
from tvm_c4n.errors import TargetError

# Android devices with 16 KiB pages refuse a library whose segments are aligned to less.
_ANDROID_PAGE_BYTES = 16384
_NEEDED = {
    # Android's loader looks for a symbol only in what the library itself names.
    "android": ("libtvm_runtime.so", "libtvm_ffi.so", "libm.so", "libc.so"),
    # A process that loads kernels has TVM's runtime already, at a place that no linker can know.
    "linux": ("libm.so.6", "libc.so.6"),
}
# What a C compiler adds by itself, from its own C library and with the right symbol versions.
_OWN = {"android": ("libm.so", "libc.so"), "linux": ("libm.so.6", "libc.so.6")}
_LINK_SECS = 300


class Fcompile(Protocol):
    """What `export_library(fcompile=...)` of TVM takes."""

    def __call__(
        self, output: str, objects: Sequence[str], options: Sequence[str] | None = None
    ) -> None:
        """Link `objects` to the shared library `output`."""


def link_shared(
    objects: Sequence[Path], out: Path, *, triple: str, options: Sequence[str] = ()
) -> None:
    """Link `objects` to the shared library `out`.

    The file appears under its name only when it is complete; an older one stays as it is if the
    linker fails.

    Parameters
    ----------
    objects : sequence of Path
        Object files for the machine of `triple`.
    out : Path
        The library to write; its name becomes the library's soname.
    triple : str
        LLVM's name of the target: "aarch64-linux-android", "aarch64-linux-gnu", ...
    options : sequence of str
        More arguments for the linker, as they are.

    Raises
    ------
    TargetError
        The system of `triple` is not served, an object is missing or for another machine, there is
        no linker, or it fails.
    """
    system = system_of(triple)
    if not objects:
        raise TargetError(f"nothing to link to {out.name}")
    if system != "apple":
        _check_machines(objects, triple)
    out.parent.mkdir(parents=True, exist_ok=True)
    # Beside `out`, because a rename is only atomic inside one file system.
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".link.") as folder:
        result = Path(folder, out.name)
        command = _command(linker_for(triple, system), objects, result, system)
        _run([*command, *options], out.name)
        result.replace(out)


def make_fcompile(triple: str) -> Fcompile:
    """Return the `fcompile` of TVM's `export_library` that links for `triple`.

    Parameters
    ----------
    triple : str
        As for `link_shared`.

    Examples
    --------
    ``executable.export_library("model.so", fcompile=make_fcompile("aarch64-linux-android"))``
    """

    def fcompile(output: str, objects: Sequence[str], options: Sequence[str] | None = None) -> None:
        paths = [Path(item) for item in objects]
        link_shared(paths, Path(output), triple=triple, options=options or ())

    # TVM reads these two: the triple to pack constants for, and the suffix of the result.
    vars(fcompile).update(get_target_triple=lambda: triple, output_format="so")
    return fcompile


def _check_machines(objects: Sequence[Path], triple: str) -> None:
    # ld.lld takes the machine from its first object: it would link wrong ones without a word.
    for path in objects:
        if not path.is_file():
            raise TargetError(f"{path}: no such object file")
        machine = read_machine(path)
        if machine not in (None, arch_of(triple)):
            raise TargetError(f"{path.name} is compiled for {machine}, not for {triple}")


def _command(linker: Linker, objects: Sequence[Path], out: Path, system: str) -> list[str]:
    inputs = [str(path) for path in objects]
    if system == "apple":
        flags = ["-dynamiclib", "-undefined", "dynamic_lookup"]
        return [*linker.command, *flags, *inputs, "-lm", "-o", str(out)]
    flags = ["--strip-debug", "-soname", out.name]
    # glibc 2.41 and Android refuse a library that asks for an executable stack, which GNU ld writes
    # for objects that do not say that they need none.
    flags += ["-z", "relro", "-z", "now", "-z", "noexecstack"]
    if system == "android":
        flags += ["-z", f"max-page-size={_ANDROID_PAGE_BYTES}", "--hash-style=gnu"]
    needed = [name for name in _NEEDED[system] if not (linker.is_compiler and name in _OWN[system])]
    stubs = [str(_write_stub(linker, name, objects, out.parent)) for name in needed]
    tail = [*linker.wrap(["--no-as-needed"]), *stubs] if stubs else []
    own = ["-lm"] if linker.is_compiler else []
    return [*linker.command, "-shared", *linker.wrap(flags), *inputs, *tail, *own, "-o", str(out)]


def _write_stub(linker: Linker, name: str, objects: Sequence[Path], folder: Path) -> Path:
    """Write an empty library called `name` for the machine of the first of `objects`."""
    empty = folder / "empty.o"
    if not empty.exists():
        like = next((path for path in objects if read_machine(path)), None)
        if not like:
            raise TargetError(f"{objects[0].name} is not an object file for a 64-bit machine")
        head = bytearray(read_head(like))
        # Same machine and flags, but no sections: e_shoff, e_shnum and e_shstrndx become 0.
        struct.pack_into("<Q", head, 40, 0)
        struct.pack_into("<HH", head, 60, 0, 0)
        empty.write_bytes(head)
    out = folder / "stubs" / name
    out.parent.mkdir(exist_ok=True)
    alone = ["-nostdlib"] if linker.is_compiler else []
    flags = linker.wrap(["-soname", name])
    _run([*linker.command, "-shared", *alone, *flags, str(empty), "-o", str(out)], name)
    return out


def _run(command: list[str], what: str) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - a list, never a shell; the linker is the user's own
            command, capture_output=True, text=True, check=False, timeout=_LINK_SECS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TargetError(f"cannot run {command[0]} to link {what}: {error}") from error
    if done.returncode:
        raise TargetError(f"cannot link {what}: {_reason(done.stderr)}")


def _reason(said: str) -> str:
    """Return the last line of a linker's message that says something."""
    # Compilers end with a line that only repeats the exit status; lld explains after ">>>".
    noise = ("collect2:", ">>>", "clang: error: linker command failed")
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if not line.startswith(noise)), "no message")
