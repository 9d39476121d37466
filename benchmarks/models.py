"""The models of the benchmarks: made once, kept in build/bench.

A model is named by its size and its format: ``130m-int4-n2``, ``mamba-19m-int8-n1``. The published
sizes have random weights (see random_models.py), mamba-19m has its real ones: those of a bundled
healed model where there is one of that format, else pruned as `tvm-c4n prune` does it.
"""

from __future__ import annotations

import hashlib
import re
from math import prod
from pathlib import Path

import numpy as np

from benchmarks.machine import CACHE
from benchmarks.random_models import SHAPES, Format, write_random
from tvm_c4n.assets import MODELS
from tvm_c4n.errors import C4nError
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.model.states import StateDType
from tvm_c4n.runtime.artifact import MANIFEST

REAL = "mamba-19m"
KNOWN = [REAL, *sorted(SHAPES)]
_TO_SIZE = re.compile(rf"{REAL}-([0-9.]+)MB")


def model_folder(size: str, fmt: Format) -> str | Path:
    """Return the folder (or name) of a model; makes it where it is missing.

    A healed model that is bundled may be named instead of a size: it is what it is. So is
    ``mamba-19m-9.0MB``, the best mixture of n and dtypes of that size, one-shot.

    Raises
    ------
    C4nError
        Unknown size.
    """
    if size in MODELS and size != REAL:
        return size
    if asked := _TO_SIZE.fullmatch(size):
        return _pruned_to_size(float(asked[1]), CACHE / "models" / size)
    if size not in KNOWN:
        raise C4nError(f"size is {size!r}; known are {', '.join(KNOWN)}")
    folder = CACHE / "models" / f"{size}-{fmt}".removesuffix("-s16")
    if size != REAL:
        return write_random(size, fmt, folder)
    if fmt.dtype == "float16" and fmt.removed == 0:
        return REAL  # as it is bundled
    healed = f"{REAL}-n{fmt.removed}-{fmt.dtype}"
    if healed in MODELS:
        return healed
    if not folder.is_dir():
        from tvm_c4n.pruning import Recipe
        from tvm_c4n.pruning.run import prune

        prune(REAL, folder, Recipe(removed=fmt.removed, dtype=fmt.dtype), dense_export=False)
    return folder


def _pruned_to_size(megabytes: float, folder: Path) -> Path:
    if not folder.is_dir():
        from tvm_c4n.pruning import Budget
        from tvm_c4n.pruning.run import prune

        prune(REAL, folder, budget=Budget("size", megabytes * 1e6), dense_export=False)
    return folder


def artifact(size: str, fmt: Format, target: str = "host") -> Path:
    """Return the compiled model; compiles it where it is missing or older than the compiler.

    A digest of the compiler's sources lies next to the folder: when a kernel changes, old artifacts
    are not measured as if they were new.
    """
    folder = CACHE / target / f"{size}-{fmt}.art"
    if up_to_date(folder):
        return folder
    from tvm_c4n.compile.artifact import compile_model

    states: StateDType | None = "float16" if fmt.half_state else None
    compile_model(model_folder(size, fmt), folder, target, scan_dtype=states, overwrite=True)
    stamp(folder)
    return folder


def stamp(folder: Path) -> None:
    """Note beside an artifact that today's compiler made it."""
    (folder.parent / f"{folder.name}.compiler").write_text(compiler_digest(), encoding="ascii")


def up_to_date(folder: Path) -> bool:
    """Return whether there is an artifact that today's compiler made."""
    return (folder / MANIFEST).is_file() and _compiled_by(folder) == compiler_digest()


def state_bytes(config: ModelConfig, n_gen: int) -> int:
    """Return the bytes of states that a generated token moves, the mean of `n_gen` of a new text.

    Keys and values are read as far as they were written; the other states are read and written.
    """
    moved = 0.0
    for state in config.states():
        whole = 0 if state.shared else prod(state.shape) * np.dtype(state.dtype).itemsize
        grows = state.name in ("keys", "values")
        moved += whole / (config.context or 1) * (n_gen + 1) / 2 if grows else 2 * whole
    return round(moved)


def _compiled_by(folder: Path) -> str:
    note = folder.parent / f"{folder.name}.compiler"
    return note.read_text(encoding="ascii") if note.is_file() else ""


def compiler_digest() -> str:
    """Return a digest of the sources that decide what an artifact is."""
    root = CACHE.parents[1]
    digest = hashlib.sha256()
    for package in ("schedules", "relay_passes", "tvm_c4n/ops", "tvm_c4n/model", "tvm_c4n/compile"):
        for file in sorted((root / package).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
