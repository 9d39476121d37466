"""Time steps of several texts at once beside steps of one, interleaved.

    python tools/time_batch.py mamba-19m-n2-int4 --threads 2 --out FILE.json

MODEL is a name, a folder, an artifact (``compile --batch``), or like ``130m:int4-n2`` a published
size with random weights. A round
times each contender once, beginning one later each time. FILE gets every sample: seconds of a step,
those that all threads together had a core, and the cores that other programs took meanwhile.
Ratios are of medians, and of the fastest where other programs run.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.random_models import Format, write_random
from benchmarks.results import run_info, update_readme
from tvm_c4n.compile.artifact import compile_model
from tvm_c4n.runtime.artifact import is_artifact
from tvm_c4n.runtime.batch import Batch
from tvm_c4n.runtime.contention import CpuContention
from tvm_c4n.runtime.engine import Engine

COUNTS = (1, 2, 4, 8, 16)


def main() -> None:
    """Measure the models and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--secs", type=float, default=0.05, help="of a sample, at least")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    lines: list[dict[str, Any]] = [{"type": "run", **run_info()}]
    for model in args.models:
        with TemporaryDirectory() as folder:
            artifact = compiled(model, Path(folder))
            for threads in args.threads:
                engine = Engine.load(artifact)
                engine.set_threads(threads, adapt=False)
                found = samples(engine, args.rounds, args.secs)
                lines += [
                    {"model": Path(model).name, "threads": threads, **sample} for sample in found
                ]
                show(f"{model}, {threads} threads", found)
    if args.out is not None:
        args.out.write_text("".join(json.dumps(line) + "\n" for line in lines))
        update_readme(args.out)


def compiled(model: str, folder: Path) -> Path:
    """Compile a model, with random weights if it is a size and a format."""
    if is_artifact(Path(model)):
        return Path(model)
    size, _, form = model.partition(":")
    source = write_random(size, Format.parse(form), folder / "model") if form else Path(model)
    compile_model(source if form else model, folder / "artifact", batch=True)
    return folder / "artifact"


def samples(engine: Engine, rounds: int, secs: float) -> list[dict[str, Any]]:
    """Time a step of one text (``texts`` 0) and steps of batches, in turns."""
    batch, found = Batch(engine, max(COUNTS)), []
    contenders = [0, *COUNTS]
    for number in range(-1, rounds):
        first = number % len(contenders)
        for texts in contenders[first:] + contenders[:first]:
            engine.reset()
            for slot in range(texts):
                batch.reset(slot)
            with CpuContention() as others:
                began, cpu, steps = perf_counter(), process_time(), 0
                while perf_counter() - began < secs:
                    if texts:
                        batch.step({slot: steps % 100 + slot for slot in range(texts)})
                    else:
                        engine.step(steps % 100)
                    steps += 1
                took, used = perf_counter() - began, process_time() - cpu
            if number >= 0:  # the first round warms up
                sample = {"texts": texts, "secs": took / steps, "cpu_secs": used / steps}
                found.append(sample | {"others": round(others.cores, 2)})
    return found


def show(title: str, found: list[dict[str, Any]]) -> None:
    """Print tokens/s of each count of texts, and how many times those of one."""
    print(f"{title}\n| texts | t/s | times one | of the fastest | of CPU time |")
    print("| ----: | --: | --------: | -------------: | ----------: |")
    alone = [s for s in found if s["texts"] == 0]
    for texts in (0, *COUNTS):
        own = [s for s in found if s["texts"] == texts]
        count = max(texts, 1)
        rate = count / median(s["secs"] for s in own)
        ratios = [
            count * of([s[key] for s in alone]) / of([s[key] for s in own])
            for of, key in ((median, "secs"), (min, "secs"), (median, "cpu_secs"))
        ]
        print(f"| {texts or 'step'} | {rate:.0f} |", " | ".join(f"{r:.2f}" for r in ratios), "|")


if __name__ == "__main__":
    main()
