"""Load time and peak memory of an artifact, each in a fresh process.

    python tools/time_load.py --sizes 2.8b --formats int4-n2 --out FILE.jsonl

Times start when Python and TVM are imported. The peak is the process's largest resident size
(VmHWM; mapped weights count) less that at the same moment, in bytes: after loading, after eight
tokens, and after a prompt. ``--here ARTIFACT N_PROMPT`` is the fresh process; it prints one JSON
object.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import typer

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.contenders import C4nModel
from benchmarks.interleaved import Line, Log, read_log
from benchmarks.options import Formats, OutFile, Rounds, Save, Sizes, words
from benchmarks.random_models import Format
from benchmarks.report import markdown
from benchmarks.results import place
from tvm_c4n.runtime.contention import CpuContention

_TOKENS = 8


def load(
    sizes: Sizes = "2.8b",
    formats: Formats = "int4-n2",
    n_prompt: int = 512,
    rounds: Rounds = 3,
    save: Save = False,
    out: OutFile = None,
) -> None:
    """Measure load time and peak memory, each in a fresh process."""
    file = out or place("load.jsonl", save)
    rows = [C4nModel(size, Format.parse(f)) for size in words(sizes) for f in words(formats)]
    artifacts = [row.make() for row in rows]
    log = Log(file)
    for _ in range(rounds):
        for row, artifact in zip(rows, artifacts, strict=True):
            with CpuContention() as others:
                command = [sys.executable, __file__, "--here", str(artifact), str(n_prompt)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
            found = json.loads(done.stdout)
            log.note(type="load", size=row.size, row=row.name, others=others.cores, **found)
    print(table(read_log([file])))


def peak_bytes() -> int:
    """Return this process's largest resident size so far."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None  # noqa: S101
    return int(found[1]) * 1024


def load_here(artifact: Path, n_prompt: int) -> dict[str, Any]:
    """Load and run an artifact in this process."""
    from tvm_c4n.runtime.engine import Engine

    base, began = peak_bytes(), perf_counter()
    engine = Engine.load(artifact)
    loaded, after_load = perf_counter(), peak_bytes()
    engine.step(0)
    first = perf_counter()
    for token in range(1, _TOKENS):
        engine.step(token)
    after_steps = peak_bytes()
    if n_prompt:
        engine.prefill(np.arange(n_prompt) % engine.config.vocab_size)
    return {
        "artifact": artifact.name,
        "weight_bytes": engine.manifest.weight_bytes,
        "load_secs": loaded - began,
        "first_token_secs": first - loaded,
        "base_bytes": base,
        "loaded_bytes": after_load - base,
        "stepped_bytes": after_steps - base,
        "n_prompt": n_prompt,
        "prefilled_bytes": peak_bytes() - base,
    }


def table(lines: list[Line]) -> str:
    """Lay out load times and memory, medians of the rounds."""
    groups: dict[tuple[str, str, int], list[Line]] = defaultdict(list)
    for line in lines:
        if line["type"] == "load":
            groups[line["size"], line["row"], line["n_prompt"]].append(line)
    head = ["model", "n", "MB", "load s", "first token s"]
    head += ["peak MB: loaded", "8 tokens", "prompt"]
    rows = []
    for (size, row, n_prompt), found in groups.items():

        def middle(key: str, found: list[Line] = found) -> float:
            return float(median(line[key] for line in found))

        sizes = ("weight_bytes", "loaded_bytes", "stepped_bytes", "prefilled_bytes")
        weights, *peaks = (middle(key) / 1e6 for key in sizes)
        times = [f"{middle(key):.3f}" for key in ("load_secs", "first_token_secs")]
        what = [f"{size} {row}, prompt of {n_prompt}", str(len(found)), f"{weights:.1f}"]
        rows.append([*what, *times, *(f"{peak:.0f}" for peak in peaks)])
    return markdown(head, rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--here"]:
        print(json.dumps(load_here(Path(sys.argv[2]), int(sys.argv[3]))))
    else:
        typer.run(load)
