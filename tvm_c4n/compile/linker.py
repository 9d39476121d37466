"""Which linker makes libraries for a target: a C compiler in front of one, or a bare LLD.

No compiler is needed: TVM writes finished objects, so a bare `ld.lld` is enough, and one can be
installed by pip (`ziglang`). Where a C compiler for the target exists it is taken first, since it
knows its own C library.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tvm_c4n.errors import TargetError
from tvm_c4n.extras import pip_command

# The oldest Android that the NDK's clang compiles for (7.0, of 2016).
ANDROID_API = 24


@dataclass(frozen=True)
class Linker:
    """A command that links: a bare LLD, or a C compiler in front of its linker."""

    command: tuple[str, ...]
    is_compiler: bool

    def wrap(self, flags: Sequence[str]) -> list[str]:
        """Return linker flags as this command takes them."""
        return [f"-Wl,{','.join(flags)}"] if self.is_compiler else list(flags)


def find_lld() -> list[str] | None:
    """Return the command of an LLD for ELF files: the system's, else `ziglang`'s, else None."""
    if path := shutil.which("ld.lld"):
        return [path]
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "ld.lld"]
    return None


def system_of(triple: str) -> str:
    """Return "android", "linux" or "apple".

    Raises
    ------
    TargetError
        Another system: nothing can be linked for it.
    """
    if "-android" in triple:
        return "android"
    if "-linux" in triple:
        return "linux"
    if "-apple-" in triple and sys.platform == "darwin":
        return "apple"
    raise TargetError(
        f"cannot link for {triple!r}: only Linux and Android (and macOS on a Mac) are served"
    )


def arch_of(triple: str) -> str:
    """Return the machine of a triple under the name that `elf.MACHINES` gives it."""
    name = triple.split("-", 1)[0]
    return {"arm64": "aarch64", "amd64": "x86_64", "i686": "x86", "armv7a": "arm"}.get(name, name)


def linker_for(triple: str, system: str) -> Linker:
    """Return the linker for a target of a system.

    Raises
    ------
    TargetError
        There is none; says what to install.
    """
    if compiler := _compiler(triple, system):
        return Linker(tuple(compiler), is_compiler=True)
    if system != "apple" and (lld := find_lld()):
        return Linker(tuple(lld), is_compiler=False)
    package = "gcc" if _is_host(triple) else "lld"
    raise TargetError(
        f"no linker for {triple}: {pip_command('link')}, or install {package} "
        f"(Debian: apt-get install {package})"
        + (", or set ANDROID_NDK_HOME to an Android NDK" if system == "android" else "")
    )


def _compiler(triple: str, system: str) -> list[str] | None:
    """Return a C compiler that links for `triple`, or None."""
    if system == "android":
        return android_clang(triple)
    if _is_host(triple):
        if named := shlex.split(os.environ.get("CC", "")):
            return named if shutil.which(named[0]) else None
        names = ["cc", "gcc", "clang", "g++"]
    else:
        names = [f"{arch_of(triple)}-linux-gnu-gcc"]
    return next(([path] for name in names if (path := shutil.which(name))), None)


def android_clang(triple: str, program: str = "clang") -> list[str] | None:
    """Return the command of the NDK's clang or clang++; None where ANDROID_NDK_HOME is not set.

    Raises
    ------
    TargetError
        There is no NDK in that folder.
    """
    home = os.environ.get("ANDROID_NDK_HOME")
    if not home:
        return None
    found = sorted(Path(home).glob(f"toolchains/llvm/prebuilt/*/bin/{program}"))
    if not found:
        raise TargetError(
            f"ANDROID_NDK_HOME={home} has no toolchains/llvm/prebuilt/*/bin/clang: "
            "correct it, or unset it to link without the NDK"
        )
    # `clang --target` rather than the wrapper scripts, which need a shell and were renamed before.
    return [str(found[0]), f"--target={arch_of(triple)}-linux-android{ANDROID_API}"]


def _is_host(triple: str) -> bool:
    system = "apple" if sys.platform == "darwin" else sys.platform
    return arch_of(platform.machine().lower()) == arch_of(triple) and system_of(triple) == system
