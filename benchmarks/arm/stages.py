"""Our models and ggml's on an emulated Arm core: instructions by kernel, and hot loops."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.arm import mca
from benchmarks.arm.counts import (
    QEMU,
    Block,
    Instruction,
    count_per_token,
    instructions,
    version_of,
)
from benchmarks.llama_cpp import baseline
from benchmarks.machine import CACHE
from benchmarks.models import artifact, compiler_digest, model_folder
from benchmarks.random_models import Format
from relay_passes.call_tir import callee_spec
from tvm_c4n._tvm import relax, tvm
from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.compile.build import phases_for
from tvm_c4n.compile.kernel_selection import selector
from tvm_c4n.compile.native import PROGRAM, RUNTIME, build_runner, fetch_runtime
from tvm_c4n.compile.target import resolve_target
from tvm_c4n.errors import C4nError
from tvm_c4n.evaluate.replay import shapes_of_projections
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.relax_model import build_model
from tvm_c4n.ops.spec import LinearSpec

TARGET = "arm64-linux"
# qemu's processor for a level of Arm CPU; ours is compiled for the first.
CPU = {"dotprod": "cortex-a76", "i8mm": "max,sve=off"}
TOKENS = 2
COPY = "copy"
# No kernel takes this few instructions: they are a call of the barrier by itself.
BARRIER = 16
# Functions with a smaller part of the instructions have no kernel of a layer, and no head.
LEAST = 0.01
LOADER = "ld-linux-aarch64.so.1"


def measure(
    size: str,
    formats: list[str],
    baselines: list[str],
    levels: list[str],
    before: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Count rows of a size; see arm/table.py. Other rows of a result `before` are kept."""
    rows = [count_ours(size, Format.parse(text)) for text in formats]
    rows += [count_ggml(size, kind, level) for level in levels for kind in baselines]
    counted = {(row["row"], row["level"]) for row in rows}
    old = before["rows"] if before and before["size"] == size else []
    rows += [row for row in old if (row["row"], row["level"]) not in counted]
    return {
        "size": size,
        "qemu": version_of(QEMU),
        "llvm": version_of(mca.tool()),
        "rows": sorted(rows, key=lambda row: row["engine"] != "tvm_c4n"),
    }


def runner() -> Path:
    """Return the folder of `c4n_run` for the emulated core; builds it where it is missing."""
    folder = CACHE / "arm64-runner"
    if not (folder / PROGRAM).is_file():
        libraries = CACHE / "arm64-runtime"
        # By file: a download that was stopped leaves an empty folder.
        if not all((libraries / name).is_file() for name in RUNTIME):
            fetch_runtime(libraries)
        build_runner(folder, TARGET, runtime=libraries, overwrite=True)
    return folder


def count_ours(size: str, fmt: Format) -> dict[str, Any]:
    """Count one of our models."""
    art, folder = artifact(size, fmt, TARGET), runner()
    start = [str(folder / LOADER), "--library-path", str(folder), str(folder / PROGRAM), str(art)]

    def command(steps: int) -> list[str]:
        return [*start, "--bench", "-p", "0", "-g", str(steps), "-r", "1", "-t", "1"]

    # The runner's bench warms up with the whole test: every step is run twice.
    blocks = count_per_token(command(1), command(1 + TOKENS), 2 * TOKENS, CPU["dotprod"])
    library = next(b.file for b in blocks if b.file.name.startswith("model-"))
    code = instructions(blocks, library)
    return {
        "engine": "tvm_c4n",
        "row": f"C4n {fmt.dtype} n={fmt.removed}",
        "form": str(fmt),
        "compiler": compiler_digest(),
        "level": "dotprod",
        "insns": total(blocks),
        "stages": stages(code, stage_names(size, fmt)),
        "elsewhere": total([b for b in blocks if b.file != library]),
    }


def count_ggml(size: str, kind: str, level: str) -> dict[str, Any]:
    """Count ggml's build of a level on a GGUF file."""
    program = baseline.prefix() / f"arm-{level}" / "decode"
    if not program.is_file():
        raise C4nError(f"{program} is missing: benchmarks/llama_cpp/install.sh --arm PREFIX")
    file = baseline.gguf_file(size, kind)

    def command(steps: int) -> list[str]:
        return [str(program), str(file), "1", str(steps), "1"]

    blocks = count_per_token(command(2), command(2 + TOKENS), TOKENS, CPU[level])
    return {
        "engine": "llama.cpp",
        "row": f"llama.cpp {kind}",
        "level": level,
        "insns": total(blocks),
        "functions": by_function(instructions(blocks, program)),
    }


def by_function(code: list[Instruction]) -> dict[str, int]:
    """Return the instructions of the functions that have most of them."""
    found: Counter[str] = Counter()
    for part in code:
        found[part.function] += part.runs  # type: ignore[assignment]
    return {name: round(count) for name, count in found.most_common(12)}


def stage_names(size: str, fmt: Format) -> list[str]:
    """Name the kernels of a step in order, each once: a layer's, then the head's.

    Around the loop over layers a row is copied into it and out of it (`relay_passes.RollLayers`).
    """
    checkpoint = open_checkpoint(model_folder(size, fmt))
    config, target = describe_model(checkpoint.config), resolve_target(TARGET)
    mod = build_model(config, checkpoint)
    select = selector(target, mod=mod)
    with tvm.transform.PassContext(opt_level=3), target:
        mod = phases_for(select, lift=False).until("fuse")(mod)
    shapes = shapes_of_projections(config)
    names = []
    for block in mod["step"].body.blocks:
        for binding in block.bindings:
            spec = isinstance(binding.value, relax.Call) and callee_spec(mod, binding.value)
            if spec:
                name = spec.kind
                if isinstance(spec, LinearSpec):
                    name = shapes.get((spec.rows, spec.cols), "head")
                names.append(name)
    names = [name for name in names if name != "embedding"]
    layers = config.n_layer
    layer = names[: (len(names) - len(names) % layers) // layers]
    return [COPY, *layer, COPY, *names[len(layer) * layers :]]


def stages(code: list[Instruction], names: list[str]) -> list[dict[str, Any]]:
    """Split the code of fused regions at the calls of the barrier, which end every stage.

    They have the names of kernels where one function has all of them, as in a model of one kind of
    layer whose head is in the same region. Else a stage is named by its function and its place.
    """
    runs: Counter[str] = Counter()
    for instruction in code:
        runs[instruction.function] += instruction.runs  # type: ignore[assignment]
    least = LEAST * _insns(code)
    split = {
        name: between_barriers([part for part in code if part.function == name])
        for name, insns in runs.most_common()
        if insns > least
    }
    parts = [part for found in split.values() for part in found]
    places = [
        f"{function.removesuffix('_compute_')} {place}"
        for function, found in split.items()
        for place in range(len(found))
    ]
    candidates = [names, joined(names), joined(names, rotated=True)] if len(split) == 1 else []
    calls = [_insns(part) / part[-1].runs for part in parts]
    chosen = next((n for n in candidates if fits(n, calls)), places)
    found = [_describe(name, part) for name, part in zip(chosen, parts, strict=True)]
    return [*found, {"name": "calls", "insns": round(_insns(code) - sum(map(_insns, parts)))}]


def between_barriers(code: list[Instruction]) -> list[list[Instruction]]:
    """Split the code of a function; one without a barrier is a stage by itself."""
    parts: list[list[Instruction]] = [[]]
    for part in code:
        parts[-1].append(part)
        if part.text.startswith("blr"):
            parts.append([])
    if len(parts) == 1:
        return parts
    # LLVM may begin the loop over layers with the barrier that ends it; then the copy out of the
    # loop follows the last kernel without a barrier between.
    return [part for part in parts[:-1] if part and _insns(part) > BARRIER * part[-1].runs]


def fits(names: list[str], insns: list[float]) -> bool:
    """Say whether these can be stages of so many instructions a call: of all the head has most."""
    alike = len(names) == len(insns)
    return alike and ("head" not in names or insns[names.index("head")] == max(insns))


def _insns(code: list[Instruction]) -> float:
    return sum(part.runs for part in code)


def joined(names: list[str], rotated: bool = False) -> list[str]:
    """Name what stands between two barriers where kernels share loops.

    `relay_passes.regions.loop_fusion` decides which ones do. A projection or a norm begins anew;
    the others go on with the columns of the kernel before, and where the loop over layers is
    `rotated`, the copy out of it does, too.
    """
    groups: list[str] = []
    begins = {"head", "rms_norm"} | (set() if rotated else {COPY})
    for name in names:
        if groups and name not in begins and not name.endswith("_proj"):
            groups[-1] += f"+{name}"
        else:
            groups.append(name)
    return groups


def _describe(name: str, code: list[Instruction]) -> dict[str, Any]:
    total, calls = _insns(code), code[-1].runs
    entry: dict[str, Any] = {"name": name, "insns": round(total), "calls": round(calls)}
    loop = mca.hottest_loop(code)
    if loop is not None:
        entry["loop"] = {
            "insns": len(loop.body),
            "dots": loop.dots,
            "loads": loop.loads,
            "spills": loop.spills,
            "share": round(loop.turns * len(loop.body) / total, 3),
            "cores": {core: vars(mca.cycles(loop, core)) for core in mca.CORES},
        }
    return entry


def total(blocks: list[Block]) -> int:
    """Return the instructions per token."""
    return round(sum(block.total for block in blocks))
