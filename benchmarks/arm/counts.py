"""Guest instructions per decoded token of an aarch64 program under qemu, block by block.

The plugin blocks.c counts every block of code. What a token costs is the difference between a long
and a short run, divided by the tokens between them: loading, warming up and ending drop out, and
the result is the same on every machine and however busy it is. One thread.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.machine import compile_c
from tvm_c4n.errors import C4nError

QEMU = "qemu-aarch64"
OBJDUMP = "aarch64-linux-gnu-objdump"
# A block: file, offset in it and instructions.
Place = tuple[str, int, int]
_TOOLS = {QEMU: "qemu-user", OBJDUMP: "binutils-aarch64-linux-gnu", "readelf": "binutils"}


@dataclass(frozen=True)
class Block:
    """Code of a program or library that runs from its first instruction to its last.

    `offset` is that in the file, `runs` is how often a token runs it.
    """

    file: Path
    offset: int
    insns: int
    runs: float

    @property
    def total(self) -> float:
        """Instructions per token."""
        return self.insns * self.runs


def count_per_token(short: list[str], long: list[str], tokens: int, cpu: str) -> list[Block]:
    """Run two command lines under qemu.

    Parameters
    ----------
    short, long : list of str
        The second decodes `tokens` more.
    tokens : int
    cpu : str
        qemu's name of a processor.

    Raises
    ------
    C4nError
        A tool is missing, or a program fails.
    """
    before, after = count(short, cpu), count(long, cpu)
    after.subtract(before)
    return blocks_of({place: runs / tokens for place, runs in after.items()})


def blocks_of(runs: Mapping[Place, float]) -> list[Block]:
    """Return the blocks that ran, by how often they did per token."""
    return [
        Block(Path(file), offset, insns, often)
        for (file, offset, insns), often in runs.items()
        if often > 0
    ]


def count(command: list[str], cpu: str) -> Counter[Place]:
    """Run a command line under qemu; returns how often each block ran. Raises as above."""
    for tool, package in _TOOLS.items():
        if shutil.which(tool) is None:
            raise C4nError(f"{tool} is missing: apt-get install {package}")
    plugin = compile_c(Path(__file__).with_name("blocks.c"), "-fPIC", "-shared")
    with TemporaryDirectory() as folder:
        out = Path(folder) / "blocks"
        line = [QEMU, "-cpu", cpu, "-plugin", f"{plugin},out={out}", *command]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        if done.returncode or not out.is_file():
            raise C4nError(f"{' '.join(line)}: {done.stderr.strip()[-300:]}")
        found: Counter[Place] = Counter()
        for text in out.read_text(encoding="utf-8").splitlines():
            runs, insns, offset, file = text.split(maxsplit=3)
            found[file, int(offset, 16), int(insns)] += int(runs)
    return found


def version_of(tool: str) -> str:
    """Return the version that qemu or an LLVM tool names."""
    done = subprocess.run([tool, "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"version (\S+)", done.stdout)
    return found[1] if found else "?"


@dataclass(frozen=True)
class Instruction:
    """A line of a disassembly, and how often a token runs it."""

    address: int
    function: str
    text: str
    runs: float


def instructions(blocks: list[Block], file: Path) -> list[Instruction]:
    """Return the instructions of a file that ran, by address."""
    file = file.resolve()  # as the emulator names it
    runs: Counter[int] = Counter()
    segments = _segments(file)
    for block in blocks:
        if block.file == file:
            first = _address(block.offset, segments)
            for index in range(block.insns):
                runs[first + 4 * index] += block.runs  # type: ignore[assignment]
    return [
        Instruction(address, function, text, runs[address])
        for address, function, text in _disassemble(file)
        if runs[address] > 0
    ]


@lru_cache(maxsize=4)
def _disassemble(file: Path) -> list[tuple[int, str, str]]:
    command = [OBJDUMP, "-d", "--no-show-raw-insn", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found, function = [], ""
    for line in done.stdout.splitlines():
        if head := re.match(r"[0-9a-f]+ <(.*)>:$", line):
            function = head[1]
        elif body := re.match(r"\s+([0-9a-f]+):\s+(.*)", line):
            found.append((int(body[1], 16), function, body[2].split("//")[0].strip()))
    return found


def _segments(file: Path) -> list[tuple[int, int, int]]:
    """Return (file offset, address, size) of what a loader maps."""
    command = ["readelf", "-lW", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.findall(r"LOAD\s+0x(\w+) 0x(\w+) 0x\w+ 0x(\w+)", done.stdout)
    return [(int(offset, 16), int(at, 16), int(size, 16)) for offset, at, size in found]


def _address(offset: int, segments: list[tuple[int, int, int]]) -> int:
    inside = (at + offset - first for first, at, size in segments if 0 <= offset - first < size)
    return next(inside)
