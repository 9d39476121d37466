"""Fingerprint what the compiler and the pruner make: a change of names must change none of it.

    python tools/fingerprint.py before.json     # before the change
    python tools/fingerprint.py after.json      # after it
    python tools/fingerprint.py --compare before.json after.json

Machine code is compared function by function, without names, addresses and the order of functions:
renaming a kernel moves all of these, and none of them is what the CPU does. Pruned folders are
compared by the sha256 of their weight files.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections import Counter
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

MODELS = (
    "mamba-19m",
    "mamba-19m-mixed",
    "mamba-19m-s30-int4",
    "mamba-19m-n2-int4",
    "mamba-19m-n3-int4",
)
TARGETS = ("host", "arm64-linux")
RECIPES = ((2, "int4"), (1, "int8"), (3, "float16"), (0, "int4"))


def main() -> int:
    """Write a fingerprint, or compare two."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("file", type=Path, nargs="?", help="where to write the fingerprint")
    parser.add_argument("--compare", type=Path, nargs=2, metavar=("BEFORE", "AFTER"))
    parser.add_argument("--only", choices=("code", "weights"), help="one half of it")
    args = parser.parse_args()
    if args.compare:
        return compare(*(json.loads(file.read_text()) for file in args.compare))
    if args.file is None:
        parser.error("name a file to write, or two to --compare")
    found = {}
    if args.only != "weights":
        found |= {f"{m} {t}": code_of(m, t) for m in MODELS for t in TARGETS}
    if args.only != "code":
        found |= {f"pruned n={n} {dtype}": pruned(n, dtype) for n, dtype in RECIPES}
    args.file.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    return 0


def code_of(model: str, target: str) -> dict[str, int]:
    """Compile a model; returns how often each function body occurs, and the weights' digest."""
    import tvm_c4n

    with TemporaryDirectory() as folder:
        out = Path(folder) / "artifact"
        manifest = tvm_c4n.compile_model(model, out, target)
        library = next(out.glob("*.so"))
        bodies = Counter(function_bodies(library, target))
    print(f"{model} {target}: {sum(bodies.values())} functions", file=sys.stderr)
    return {"weights " + manifest.weights_sha256[:16]: 1, **bodies}


def function_bodies(library: Path, target: str) -> list[str]:
    """Digests of the functions of a library, in its order."""
    tool = "objdump" if target == "host" else "aarch64-linux-gnu-objdump"
    text = subprocess.run(
        [tool, "-d", "--no-show-raw-insn", str(library)], check=True, capture_output=True, text=True
    ).stdout
    bodies = []
    for block in re.split(r"\n\n", text):
        lines = [line.partition("\t")[2] for line in block.splitlines() if ":\t" in line]
        if lines:
            bodies.append(
                sha256("\n".join(map(without_addresses, lines)).encode()).hexdigest()[:16]
            )
    return bodies


def without_addresses(line: str) -> str:
    """Take out of an instruction what depends on where things lie."""
    line = re.sub(r"\s*(#|//|<).*", "", line)
    line = re.sub(r"-?0x[0-9a-f]+\(%rip\)", "(%rip)", line)
    line = re.sub(r"\b(adrp|adr)(\s+x\d+),.*", r"\1\2", line)
    line = re.sub(r"^(\w+\s+)[0-9a-f]{3,}\s*$", r"\1", line)
    return re.sub(r"(\b(?:b\.?\w*|cbn?z|tbn?z|bl)\s.*?)[0-9a-f]{3,}\s*$", r"\1", line)


def pruned(removed: int, dtype: str) -> dict[str, int]:
    """Prune the default model with few windows; returns the digests of what was written."""
    import tvm_c4n

    with TemporaryDirectory() as folder:
        out = Path(folder) / "pruned"
        recipe = tvm_c4n.Recipe(removed=removed, dtype=dtype, samples=4)
        tvm_c4n.prune("mamba-19m", out, recipe, dense_export=False)
        digests = {
            f.name: sha256(f.read_bytes()).hexdigest()[:16] for f in out.glob("*.safetensors")
        }
    print(f"pruned n={removed} {dtype}: {digests}", file=sys.stderr)
    return {f"{name} {digest}": 1 for name, digest in digests.items()}


def compare(before: dict[str, dict[str, int]], after: dict[str, dict[str, int]]) -> int:
    """Print what differs; returns 1 if anything does."""
    failed = False
    for name in sorted(before.keys() | after.keys()):
        old, new = Counter(before.get(name, {})), Counter(after.get(name, {}))
        gone, come = sum((old - new).values()), sum((new - old).values())
        failed |= old != new
        change = "same" if old == new else f"{gone} gone, {come} new, of {sum(old.values())}"
        print(f"{name}: {change}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
