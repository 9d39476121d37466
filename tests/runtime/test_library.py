"""Loading and unloading a model leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tvm_c4n.runtime.artifact import open_artifact
from tvm_c4n.runtime.engine import Engine
from tvm_c4n.runtime.library import load_library

# Kilobytes in memory after 20 and after 80 cycles: by then all caches are full.
CYCLES = """
import sys
from pathlib import Path
from tvm_c4n.runtime.engine import Engine

def resident_kb():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4

for count in (20, 60):
    for _ in range(count):
        engine = Engine.load(sys.argv[1], threads=1)
        engine.prefill([1, 2, 3])
        engine.step(4)
        del engine
    print(resident_kb(), "/model-" in Path("/proc/self/maps").read_text())
"""
# A cycle cost 27 kB while TVM kept each module; noise is 1 kB.
MAX_GROWTH_KB = 60 * 5


def test_memory_stays_flat_over_loading_and_unloading(small_artifact: Path) -> None:
    command = [sys.executable, "-c", CYCLES, str(small_artifact)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    before, mapped_before, after, mapped_after = done.stdout.split()
    assert int(after) - int(before) < MAX_GROWTH_KB
    assert (mapped_before, mapped_after) == ("False", "False")


def test_engines_share_a_library_and_one_may_go(small_artifact: Path) -> None:
    first = Engine.load(small_artifact, threads=1)
    expected = first.score([1, 2, 3])
    second = Engine.load(small_artifact, threads=1)
    file = small_artifact / open_artifact(small_artifact).manifest.library
    assert load_library(file) is load_library(file)
    del first
    assert (second.score([1, 2, 3]) == expected).all()


def test_logits_outlive_the_engine_and_its_library(small_artifact: Path) -> None:
    engine = Engine.load(small_artifact, threads=1)
    logits = engine.step(3)
    expected = logits.copy()
    del engine
    Engine.load(small_artifact, threads=1).step(4)
    assert (logits == expected).all()
