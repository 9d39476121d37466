"""Pruning of a large model: memory, seconds a layer, and going on after a kill.

    python -m benchmarks.large --size 2.8b --layers 2

writes a checkpoint with random weights in shards (5.5 GB at 2.8b, once), starts to prune it in a
process of its own, kills that with SIGKILL when it has finished so many layers, starts it again
with the same journal, and kills it for good one layer later. Printed, and kept in
benchmarks/results/large.json: the largest resident size (VmHWM), the seconds of each stage, and
whether the second process did a finished layer again. `--depth 3` makes a model of that size with
fewer layers: for the memory of one layer their number hardly matters, and the first look at the
model, which comes before any pruning, is then short.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from benchmarks.machine import CACHE
from benchmarks.shapes import SIZES, config_of, random_tensor
from tvm_c4n.assets import resolve
from tvm_c4n.model.config import PROJECTIONS, MambaConfig

RESULTS = Path(__file__).parent / "results" / "large.json"
SHARD_LAYERS = 16


def main() -> int:
    """Make the model, prune some of it twice, print and keep the figures."""
    args = parse()
    if args.worker:
        return work(args)
    source = write_source(args.size, args.depth or SIZES[args.size][1])
    with TemporaryDirectory(dir=CACHE) as folder:
        first = watch(args, source, Path(folder), args.layers)
        second = watch(args, source, Path(folder), args.layers + 1)
    again = [what for what in second["secs"] if re.match(r"layer (\d+) in_proj", what)]
    redone = sorted(int(what.split()[1]) for what in again if int(what.split()[1]) < args.layers)
    found = {
        "size": args.size,
        "depth": args.depth or SIZES[args.size][1],
        "samples": args.samples,
        "sample_tokens": args.tokens,
        "removed": args.removed,
        "dtype": args.dtype,
        "cores": os.cpu_count(),
        "peak_bytes": max(first["peak_bytes"], second["peak_bytes"]),
        "layer_secs": layer_secs(first["secs"]) | layer_secs(second["secs"]),
        "first_look_secs": look_secs(first["secs"]),
        "redone_layers": redone,
        "stages": first["secs"],
    }
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    del found["stages"]
    print(json.dumps(found, indent=1))
    return 0


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=sorted(SIZES), default="2.8b")
    parser.add_argument("--depth", type=int, default=0, help="layers of the model [the size's]")
    parser.add_argument("--layers", type=int, default=2, help="layers to prune before the kill")
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--removed", type=int, default=2)
    parser.add_argument("--dtype", default="int8")
    parser.add_argument("--worker", nargs=2, metavar=("SOURCE", "FOLDER"), help=argparse.SUPPRESS)
    return parser.parse_args()


def write_source(size: str, depth: int) -> Path:
    """Write a Hugging Face folder with random float16 weights in shards, unless it is there."""
    from tvm_c4n.checkpoint.safetensors_file import write_safetensors

    out = CACHE / "models" / f"{size}-{depth}-layers-hf"
    if (out / "config.json").is_file():
        return out
    out.mkdir(parents=True, exist_ok=True)
    config = config_of(size) | {"num_hidden_layers": depth}
    shapes = MambaConfig.from_hf(config).tensor_shapes()
    shards: dict[str, list[str]] = {}
    for name in shapes:
        layer = re.search(r"layers\.(\d+)\.", name)
        part = 0 if layer is None else int(layer[1]) // SHARD_LAYERS
        shards.setdefault(f"model-{part:05d}.safetensors", []).append(name)

    def data(name: str) -> Iterator[bytes]:
        yield random_tensor(name, shapes[name]).astype("<f2").tobytes()

    for file, names in shards.items():
        print(f"writing {out / file}", file=sys.stderr, flush=True)
        write_safetensors(
            out / file, {n: ("F16", shapes[n]) for n in names}, data, {"format": "pt"}
        )
    index = {"weight_map": {name: file for file, names in shards.items() for name in names}}
    (out / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    shutil.copy(resolve("mamba-19m") / "tokenizer.json", out)
    (out / "config.json").write_text(json.dumps(config), encoding="utf-8")  # last: it is whole now
    return out


def work(args: argparse.Namespace) -> int:
    """Prune in this process; a line on stdout for each step."""
    from tvm_c4n.pruning import Recipe
    from tvm_c4n.pruning.run import prune

    source, folder = args.worker
    fields = {"removed": args.removed, "dtype": args.dtype}
    recipe = Recipe(**fields, samples=args.samples, sample_tokens=args.tokens)
    prune(
        source,
        f"{folder}/out",
        recipe,
        progress=lambda what, _done, _total: print(what, flush=True),
        dense_export=False,
        resume=f"{folder}/journal",
    )
    return 0


def watch(args: argparse.Namespace, source: Path, folder: Path, layers: int) -> dict[str, Any]:
    """Run `work` in a process and kill it as soon as so many layers are finished."""
    options = ("samples", "tokens", "removed", "dtype")
    command = [sys.executable, "-m", "benchmarks.large"]
    command += [text for name in options for text in (f"--{name}", str(getattr(args, name)))]
    command += ["--worker", str(source), str(folder)]
    began = perf_counter()
    secs: dict[str, float] = {}
    peak = 0
    # The first step of the next layer is reported when the journal has the one before.
    last = f"layer {layers} {PROJECTIONS[0]}"
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # noqa: S101
        for line in process.stdout:
            what, now = line.strip(), perf_counter()
            secs[what] = round(now - began, 2)
            began = now
            peak = max(peak, peak_bytes(process.pid))
            print(
                f"{secs[what]:8.1f} s {peak / 2**30:6.2f} GiB  {what}", file=sys.stderr, flush=True
            )
            if what == last:
                process.send_signal(signal.SIGKILL)
                break
    return {"secs": secs, "peak_bytes": peak}


def peak_bytes(pid: int) -> int:
    """Return a process's largest resident size so far; 0 when it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except FileNotFoundError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0


def layer_secs(stages: dict[str, float]) -> dict[str, float]:
    """Add up the steps of each layer that was pruned whole."""
    total: dict[str, dict[str, float]] = {}
    for what, secs in stages.items():
        if found := re.fullmatch(rf"layer (\d+) ({'|'.join(PROJECTIONS)})", what):
            total.setdefault(found[1], {})[found[2]] = secs
    return {k: round(sum(v.values()), 2) for k, v in total.items() if len(v) == len(PROJECTIONS)}


def look_secs(stages: dict[str, float]) -> float:
    """Add up the first look."""
    return round(sum(secs for what, secs in stages.items() if "first look" in what), 2)


if __name__ == "__main__":
    sys.exit(main())
