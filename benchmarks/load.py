"""Load time and peak memory of an artifact, each in a fresh process.

    python -m benchmarks.load ARTIFACT [N_PROMPT]

prints one JSON object. Times start when Python and TVM are imported. The peak is the process's
largest resident size (VmHWM; mapped weights count) less that at the same moment, in bytes: after
loading, after eight tokens, and after a prompt.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

_TOKENS = 8


def peak_bytes() -> int:
    """Return this process's largest resident size so far."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None  # noqa: S101
    return int(found[1]) * 1024


def load(artifact: Path, n_prompt: int) -> dict[str, Any]:
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


def measure(artifact: Path, n_prompt: int) -> dict[str, Any]:
    """Run this module in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.load", str(artifact), str(n_prompt)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


if __name__ == "__main__":
    print(json.dumps(load(Path(sys.argv[1]), int((sys.argv[2:] or ["0"])[0]))))
