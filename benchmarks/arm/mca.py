"""Hot loops in a disassembly, and what llvm-mca says of them.

llvm-mca models a core whose data is in its L1 cache. Two bounds stand beside its cycles: that of
the loop's own instructions (each unit busy all the time), and that of its dot products and its
loads of weights and activations alone, which no other instruction order could beat.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass

from benchmarks.arm.counts import Instruction
from tvm_c4n.errors import C4nError

# Phone core: the model that llvm-mca is given. LLVM models the A78 as the older A57; the N1 is its
# near kin.
CORES = {
    "cortex-a510": "cortex-a510",
    "cortex-a78": "neoverse-n1",
    "cortex-a710": "cortex-a710",
    "cortex-x3": "cortex-x3",
}

_TOOLS = [f"llvm-mca-{version}" for version in range(25, 18, -1)]
_ITERATIONS = 200
_BRANCH = re.compile(r"^(b\.\w+|cbn?z|tbn?z)\b")
_DOT = re.compile(r"^([su]dot|usdot|[su]mmla)\b")
_MULTIPLY = re.compile(r"^fmla\b")
_LOAD = re.compile(r"^ld\w+\b(?!.*\[sp)")


@dataclass(frozen=True)
class Cycles:
    """Cycles of one turn of a loop on one core, and the two bounds."""

    cycles: float
    own_bound: float
    dot_and_load_bound: float


@dataclass(frozen=True)
class Loop:
    """Instructions that ran equally often, `turns` per token; the last branches to the first."""

    body: list[str]
    turns: float

    @property
    def dots(self) -> int:
        """Dot products; in a loop without any, multiply-adds."""
        found = sum(bool(_DOT.match(text)) for text in self.body)
        return found or sum(bool(_MULTIPLY.match(text)) for text in self.body)

    @property
    def loads(self) -> int:
        """Loads, without those of spilled registers."""
        return sum(bool(_LOAD.match(text)) for text in self.body)

    @property
    def spills(self) -> int:
        """Loads and stores of the stack."""
        return sum("[sp" in text for text in self.body)


def hottest_loop(code: list[Instruction]) -> Loop | None:
    """Return the loop that most instructions of `code` belong to; None where there is none."""
    best: Loop | None = None
    for end, instruction in enumerate(code):
        target = re.search(r"\b([0-9a-f]+) <", instruction.text)
        if not _BRANCH.match(instruction.text) or target is None:
            continue
        size = (instruction.address - int(target[1], 16)) // 4 + 1
        start = end - size + 1
        if size < 2 or start < 0 or code[start].address != int(target[1], 16):
            continue
        body = code[start : end + 1]
        turns = instruction.runs
        if any(abs(part.runs - turns) > 0.02 * turns for part in body[1:]):
            continue  # an inner loop or a branch inside
        if best is None or turns * size > best.turns * len(best.body):
            best = Loop([part.text for part in body], turns)
    return best


def cycles(loop: Loop, core: str) -> Cycles:
    """Let llvm-mca simulate a turn of a loop on one of the `CORES`."""
    body = [_BRANCH_TARGET.sub("turn", text) for text in loop.body]
    core_of = CORES[core]
    whole = _run(body, core_of)
    dot = _DOT if any(_DOT.match(text) for text in body) else _MULTIPLY
    part = _run([t for t in body if dot.match(t) or _LOAD.match(t)], core_of)
    return Cycles(whole["cycles"], whole["bound"], part["bound"])


_BRANCH_TARGET = re.compile(r"\b[0-9a-f]+ <[^>]*>$")


def tool() -> str:
    """Return the newest llvm-mca.

    Raises
    ------
    C4nError
        There is none of version 19 or later: older ones lack the newer cores.
    """
    for name in [*_TOOLS, "llvm-mca"]:
        if shutil.which(name):
            return name
    raise C4nError("llvm-mca is missing: apt-get install llvm-22, or the newest llvm there is")


def _run(body: list[str], model: str) -> dict[str, float]:
    command = [tool(), "-mtriple=aarch64", f"-mcpu={model}", "-mattr=+dotprod,+fullfp16,+i8mm"]
    command += [f"-iterations={_ITERATIONS}"]
    text = "turn:\n" + "\n".join(body) + "\n"
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise C4nError(f"{command[0]}: {done.stderr.strip()[:200]}")

    def value(name: str) -> float:
        found = re.search(rf"^{name}:\s+([\d.]+)", done.stdout, re.M)
        assert found is not None  # noqa: S101
        return float(found[1])

    return {"cycles": value("Total Cycles") / _ITERATIONS, "bound": value("Block RThroughput")}
