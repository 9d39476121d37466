"""Count the Arm instructions of a prompt under qemu: ours and ggml's, per token.

    python tools/arm_prefill.py --save

What tokens cost is linear in their number, but for those that a whole block of tokens leaves over:
a count is that of a prompt of PROMPT tokens, worked out from two shorter ones that leave over as
many. One thread. It needs what `python -m benchmarks arm` needs, and makes all but ggml's builds:
benchmarks/llama_cpp/install.sh --arm. A build with KleidiAI is a level: ``i8mm-kleidiai:Q4_0``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.arm import mca
from benchmarks.arm.counts import QEMU, Block, blocks_of, count, instructions, version_of
from benchmarks.arm.stages import (
    CPU,
    LOADER,
    by_function,
    runner,
    stages,
    total,
)
from benchmarks.host import results_folder
from benchmarks.llama_cpp import baseline
from benchmarks.machine import CACHE
from benchmarks.models import artifact, compiler_digest
from benchmarks.random_models import Format
from benchmarks.report import markdown
from benchmarks.results import write_result
from tvm_c4n.compile.native import PROGRAM
from tvm_c4n.errors import C4nError

PROMPT = 512


@dataclass(frozen=True)
class Sizes:
    """Lengths of the prompts that are counted: `first` tokens, and `more` than these.

    `more` is a multiple of the blocks of tokens that kernels take, and divides what `PROMPT` has
    beyond `first`, which is long enough for every kernel to do as for a long one. `warm_up` says
    whether a prompt is read once more before, and not only 16 of its tokens.
    """

    first: int
    more: int
    warm_up: bool


OURS, GGML = Sizes(20, 12, True), Sizes(32, 48, False)
# What ours is compiled for, by level of Arm CPU; both have the instructions of that level.
TARGETS = {"dotprod": "arm64-linux", "i8mm": "arm64-linux-i8mm"}
FORMATS = ["int4-n2", "int8-n2", "int4-n0"]
BASELINES = [f"{level}:{kind}" for level in ("dotprod", "i8mm") for kind in ("Q4_0", "Q8_0")]

Command = Callable[[int, int], list[str]]


def count_prompt(command: Command, sizes: Sizes, cpu: str) -> list[Block]:
    """Return the blocks of a prompt of `PROMPT` tokens, per token.

    Parameters
    ----------
    command : callable
        ``command(tokens, reps)`` is the line that reads a prompt `reps` times.
    sizes : Sizes
    cpu : str
        qemu's name of a processor.
    """
    first, more = sizes.first, sizes.more
    lines = (command(first, 1), command(first, 2), command(first + more, 1))
    one, two, longer = (count(line, cpu) for line in lines)
    steps, rest = divmod(PROMPT - first, more)
    assert rest == 0  # noqa: S101 - of the sizes above
    times = steps / (1 + sizes.warm_up)
    return blocks_of(
        {
            place: (two[place] - one[place] + times * (longer[place] - one[place])) / PROMPT
            for place in two | longer
        }
    )


def ours(size: str, fmt: Format, level: str) -> dict[str, Any]:
    """Count one of our models."""
    art, folder = artifact(size, fmt, TARGETS[level]), runner()
    start = [str(folder / LOADER), "--library-path", str(folder), str(folder / PROGRAM), str(art)]

    def command(tokens: int, reps: int) -> list[str]:
        return [*start, "--bench", "-p", str(tokens), "-g", "0", "-r", str(reps), "-t", "1"]

    blocks = count_prompt(command, OURS, CPU[level])
    library = next(b.file for b in blocks if b.file.name.startswith("model-"))
    return {
        "engine": "tvm_c4n",
        "row": f"C4n {fmt.dtype} n={fmt.removed}",
        "form": str(fmt),
        "compiler": compiler_digest(),
        "level": level,
        "insns": total(blocks),
        # Numbered: where a prompt's kernels lie says nothing of their order.
        "stages": stages(instructions(blocks, library), []),
    }


def ggml(size: str, kind: str, level: str) -> dict[str, Any]:
    """Count a build of ggml on a GGUF file."""
    program, file = baseline.prefix() / f"arm-{level}" / "bench", baseline.gguf_file(size, kind)
    if not program.is_file():
        raise C4nError(f"{program} is missing: benchmarks/llama_cpp/install.sh --arm PREFIX")

    def command(tokens: int, reps: int) -> list[str]:
        return [str(program), str(file), "1", str(tokens), "0", str(reps)]

    blocks = count_prompt(command, GGML, CPU[level.removesuffix("-kleidiai")])
    return {
        "engine": "llama.cpp",
        "row": f"llama.cpp {kind}",
        "level": level,
        "insns": total(blocks),
        "functions": by_function(instructions(blocks, program)),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Lay out the rows, each beside the row of ggml with the fewest instructions."""
    best = min((r["insns"] for r in rows if r["engine"] == "llama.cpp"), default=0)
    lines = []
    for row in rows:
        part = f"{row['insns'] / best:.3f}" if best else ""
        lines.append([row["row"], row["level"], f"{row['insns'] / 1e6:.2f}", part])
    return markdown(["row", "code for", "million insns a token", "of ggml's best"], lines)


def main() -> None:
    """Count the rows that are asked for, write the result after each, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--size", default="130m")
    parser.add_argument("--formats", nargs="*", default=FORMATS, help="ours, at each level")
    parser.add_argument("--levels", nargs="*", default=list(TARGETS), choices=TARGETS)
    parser.add_argument("--ggml", nargs="*", default=BASELINES, help="LEVEL:TYPE")
    parser.add_argument("--save", action="store_true", help="into benchmarks/results")
    args = parser.parse_args()
    file = (results_folder("qemu-cortex-a76") if args.save else CACHE) / f"prefill-{args.size}.json"
    work: list[Callable[[], dict[str, Any]]] = [
        lambda f=f, level=level: ours(args.size, Format.parse(f), level)
        for level in args.levels
        for f in args.formats
    ]
    work += [
        lambda kind=kind, level=level: ggml(args.size, kind, level)
        for level, _, kind in (text.partition(":") for text in args.ggml)
    ]
    for each in work:
        row = each()
        rows = [r for r in kept(file) if (r["row"], r["level"]) != (row["row"], row["level"])]
        result = {
            "size": args.size,
            "prompt": PROMPT,
            "qemu": version_of(QEMU),
            "llvm": version_of(mca.tool()),
            "rows": sorted([*rows, row], key=lambda r: r["engine"] != "tvm_c4n"),
        }
        write_result(file, result)
        print(f"{row['row']}, {row['level']}: {row['insns'] / 1e6:.2f} million a token", flush=True)
    print(table(kept(file)))


def kept(file: Path) -> list[dict[str, Any]]:
    """Return the rows of an earlier run."""
    return list(json.loads(file.read_text("utf-8"))["rows"]) if file.is_file() else []


if __name__ == "__main__":
    main()
