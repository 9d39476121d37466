"""Peak memory and time of pruning a large model, layer by layer, on random weights.

    python -m benchmarks.streaming --size 2.8b --layers 2

Writes a sharded Hugging Face folder with the published shapes, and prunes it with the default
calibration (128 windows of 256 tokens). Memory does not grow with the number of layers, so that a
few layers show the peak of all; the time of one layer times the layers is that of a whole run.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from benchmarks.shapes import config_of
from tvm_c4n.assets import ROOT
from tvm_c4n.checkpoint import write_twin
from tvm_c4n.model.config import MambaConfig

RESULTS = Path(__file__).parent / "results" / "streaming.json"


class RandomModel:
    """A checkpoint whose tensors are drawn when they are read."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.path, self.config = Path("(random)"), config
        self._shapes = MambaConfig.from_hf(config).tensor_shapes()

    def names(self) -> list[str]:
        return sorted(self._shapes)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._shapes[name]

    def dense(self, name: str) -> NDArray[np.float32]:
        shape = self._shapes[name]
        if name.endswith("A_log"):
            return np.log(np.tile(np.arange(1, shape[1] + 1, dtype=np.float32), (shape[0], 1)))
        if name.endswith(("norm.weight", "norm_f.weight", ".D")):
            return np.ones(shape, dtype=np.float32)
        rng = np.random.default_rng(crc32(name.encode()))
        values = rng.standard_normal(shape, dtype=np.float32)
        return values / np.float32(np.sqrt(shape[-1]))

    def weight(self, name: str) -> None:
        return None

    def extra_files(self) -> list[Path]:
        return [ROOT / "mamba-19m" / "tokenizer.json"]


def main() -> int:
    """Write, prune, measure; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", default="2.8b")
    parser.add_argument("--layers", type=int, default=2, help="of the model that is pruned")
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--without", default="", help="steps to leave out; they change the time")
    parser.add_argument("--folder", help="where to write; a temporary folder by default")
    args = parser.parse_args()
    config = config_of(args.size)
    whole = config["num_hidden_layers"]
    config["num_hidden_layers"] = args.layers
    with TemporaryDirectory(dir=args.folder) as folder:
        source = Path(folder) / "model"
        write_twin(RandomModel(config), source, shard_bytes=200_000_000)
        result = prune_measured(source, Path(folder) / "out", args)
    result |= {"size": args.size, "layers": args.layers, "layers_of_the_whole": whole}
    result |= {"samples": args.samples, "without": args.without}
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))
    return 0


def prune_measured(source: Path, out: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Prune and return the peak memory of this process and the time of each step."""
    from tvm_c4n.prune import Recipe
    from tvm_c4n.prune.run import prune

    steps: list[dict[str, Any]] = []
    began = perf_counter()

    def note(what: str, _done: int, _total: int) -> None:
        step = {"step": what, "secs": round(perf_counter() - began, 1), "peak_mib": peak_mib()}
        steps.append(step)
        print(step, file=sys.stderr, flush=True)

    without = tuple(step for step in args.without.split(",") if step)
    recipe = Recipe(removed=2, dtype="int8", samples=args.samples, without=without)
    shards = len(list(source.glob("*.safetensors")))
    before = peak_mib()
    prune(source, out, recipe, progress=note, twin=False)
    return {"shards": shards, "peak_mib_before": before, "peak_mib": peak_mib(), "steps": steps}


def peak_mib() -> int:
    """Return the largest resident size that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


if __name__ == "__main__":
    sys.exit(main())
