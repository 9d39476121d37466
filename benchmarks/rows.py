"""The rows of the tables: what is measured, each behind the same few methods."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from benchmarks.llama_cpp import peer
from benchmarks.machine import CACHE
from benchmarks.models import artifact, model_folder
from benchmarks.shapes import Format
from tvm_c4n.runtime.bench import Cell


@dataclass(frozen=True)
class Test:
    """What is done: read `n_prompt` tokens, or generate `n_gen`; one of them is 0."""

    n_prompt: int
    n_gen: int

    def __str__(self) -> str:
        return f"pp{self.n_prompt}" if self.n_prompt else f"tg{self.n_gen}"

    @property
    def tokens(self) -> int:
        """Tokens of the test."""
        return self.n_prompt + self.n_gen


class Row(Protocol):
    """One line of a table."""

    name: str
    """For example ``C4n int4 n=2``."""
    engine: str
    """``"tvm_c4n"``, ``"llama.cpp"`` or ``"TVM"``."""
    size: str
    weight_bytes: int
    """Of all weights: what a decode step reads."""

    def open(self) -> None:
        """Load, and warm up; makes the files that are missing."""

    def measure(self, test: Test, threads: int) -> float:
        """Run a test once; returns seconds."""

    def runs(self, test: Test, threads: int) -> bool:
        """Return whether this row has such a test."""


class Ours:
    """A compiled model in this process."""

    engine = "tvm_c4n"

    def __init__(self, size: str, form: Format):
        self.size, self.form = size, form
        what = f"n={form.removed}" if form.removed else "dense"
        self.name = f"C4n {form.dtype} {what}"
        self.weight_bytes = 0

    def make(self) -> Path:
        """Return the artifact; makes it where it is missing."""
        return artifact(self.size, self.form)

    def open(self) -> None:
        """Load the artifact."""
        from tvm_c4n.runtime.engine import Engine

        self._engine = Engine.load(self.make())
        self.weight_bytes = self._engine.manifest.weight_bytes

    def measure(self, test: Test, threads: int) -> float:
        """Run a test once, after a short warm-up as llama-bench's rows have it."""
        short = Cell(self._engine, threads, min(test.n_prompt, 16), min(test.n_gen, 2))
        short.measure()
        return Cell(self._engine, threads, test.n_prompt, test.n_gen).measure() / 1e9

    def runs(self, test: Test, threads: int) -> bool:
        """Everything."""
        return True


class LlamaCpp:
    """A GGUF file in a llama-bench process of its own."""

    engine = "llama.cpp"

    def __init__(self, size: str, kind: str):
        self.size, self.kind, self.name = size, kind, f"llama.cpp {kind}"
        self.weight_bytes = 0

    def make(self) -> Path:
        """Return the GGUF file; makes it where it is missing."""
        return peer.gguf_file(self.size, self.kind)

    def open(self) -> None:
        """Run it once: the file is in the page cache then."""
        self._file = self.make()
        self.weight_bytes = peer.run(self._file, 1, 0, 1).weight_bytes

    def measure(self, test: Test, threads: int) -> float:
        """Run a test once."""
        return peer.run(self._file, threads, test.n_prompt, test.n_gen).secs

    def runs(self, test: Test, threads: int) -> bool:
        """Everything."""
        return True


class Tvm:
    """TVM's own build of the dense model, in this process; see tvm_dense.py.

    Its kernels use one thread, and the slowest takes seconds a token: few tokens are measured.
    """

    engine = "TVM"
    most_tokens = 4

    def __init__(self, size: str, way: str):
        self.size, self.way, self.name = size, way, f"TVM float32 {way}"
        self.weight_bytes = 0

    def make(self) -> Any:
        """Return the model; compiles it where it is missing."""
        from benchmarks.tvm_dense import TvmModel
        from tvm_c4n.checkpoint import open_checkpoint

        source = model_folder(self.size, Format("float16", 0))
        return TvmModel(open_checkpoint(source), self.way, CACHE / "tvm" / self.size)

    def open(self) -> None:
        """Load it, and read one token."""
        self._model = self.make()
        self.weight_bytes = self._model.weight_bytes
        self._model.step(0)

    def measure(self, test: Test, threads: int) -> float:
        """Read the first few tokens of a test; returns the time that all would take."""
        count = min(self.most_tokens, test.tokens)
        ids = np.random.default_rng(42).integers(1, self._model.config.vocab_size, count)
        self._model.reset()
        began = perf_counter()
        for token in ids:
            self._model.step(int(token))
        return (perf_counter() - began) * test.tokens / count

    def runs(self, test: Test, threads: int) -> bool:
        """With one thread only, for more change nothing."""
        return threads == 1


def rows_of(sizes: list[str], forms: list[str], peers: list[str], tvm: list[str]) -> list[Row]:
    """Return the rows of a measurement, by size."""
    rows: list[Row] = []
    for size in sizes:
        rows += [Ours(size, Format.parse(form)) for form in forms]
        rows += [LlamaCpp(size, kind) for kind in peers]
        rows += [Tvm(size, way) for way in tvm]
    return rows
