"""What is measured against each other: our models, llama.cpp's and TVM's own build of them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from benchmarks.llama_cpp import baseline
from benchmarks.machine import CACHE
from benchmarks.models import REAL, artifact, compiler_digest, model_folder
from benchmarks.random_models import Format
from tvm_c4n.runtime.bench import Cell


@dataclass(frozen=True)
class Test:
    """Read `n_prompt` tokens, or generate `n_gen`; one of them is 0."""

    n_prompt: int
    n_gen: int

    def __str__(self) -> str:
        return f"pp{self.n_prompt}" if self.n_prompt else f"tg{self.n_gen}"

    @property
    def tokens(self) -> int:
        return self.n_prompt + self.n_gen


class Contender(Protocol):
    """One model in one engine.

    Attributes
    ----------
    name : str
        For example ``C4n int4 n=2``.
    engine : {"tvm_c4n", "llama.cpp", "TVM"}
    size : str
        For example ``130m``.
    weight_bytes : int
        Bytes of all weights, which a decode step reads; known once it is open.
    most_threads : int
        It is not measured with more.
    """

    name: str
    engine: str
    size: str
    weight_bytes: int
    most_threads: int

    def make(self) -> Any:
        """Make the files that are missing."""

    def open(self) -> None:
        """Load and warm up."""

    def measure(self, test: Test, threads: int) -> float:
        """Run a test once; returns seconds."""


class C4nModel:
    """A compiled model of ours in this process."""

    engine = "tvm_c4n"
    most_threads = os.cpu_count() or 1

    def __init__(self, size: str, fmt: Format):
        self.size, self.fmt = size, fmt
        self.name = f"C4n {fmt.dtype} " + (f"n={fmt.removed}" if fmt.removed else "dense")
        self.weight_bytes = 0

    def make(self) -> Path:
        return artifact(self.size, self.fmt)

    def open(self) -> None:
        from tvm_c4n.runtime.engine import Engine

        self._engine = Engine.load(self.make())
        self.weight_bytes = self._engine.manifest.weight_bytes

    def measure(self, test: Test, threads: int) -> float:
        """Run a test after a short warm-up, like that of llama-bench in `baseline.run`."""
        Cell(self._engine, threads, min(test.n_prompt, 16), min(test.n_gen, 2)).measure()
        return Cell(self._engine, threads, test.n_prompt, test.n_gen).measure() / 1e9


class HealedModel(C4nModel):
    """A healed model that comes with the package."""

    def __init__(self, source: str, label: str):
        super().__init__(REAL, Format("int4", 0))
        self.source, self.name = source, f"C4n int4 {label}, healed"

    def make(self) -> Path:
        """Return the artifact; compiles it where it is missing or older than the compiler."""
        from tvm_c4n.compile.artifact import compile_model

        folder = CACHE / "host" / f"{self.source}-{compiler_digest()}.art"
        if not folder.is_dir():
            compile_model(self.source, folder)
        return folder


class LlamaCpp:
    """A GGUF file in a llama-bench process of its own."""

    engine = "llama.cpp"
    most_threads = os.cpu_count() or 1

    def __init__(self, size: str, kind: str):
        self.size, self.kind, self.name = size, kind, f"llama.cpp {kind}"
        self.weight_bytes = 0

    def make(self) -> Path:
        return baseline.gguf_file(self.size, self.kind)

    def open(self) -> None:
        """Run it once, so that the file is in the page cache."""
        self._file = self.make()
        self.weight_bytes = baseline.run(self._file, 1, 0, 1).weight_bytes

    def measure(self, test: Test, threads: int) -> float:
        return baseline.run(self._file, threads, test.n_prompt, test.n_gen).secs


class TvmBuild:
    """TVM's own build of the dense model in this process; see tvm_dense.py.

    Its kernels use one thread, and the slowest takes seconds per token: few tokens are measured.
    """

    engine = "TVM"
    most_threads = 1  # more change nothing
    most_tokens = 4

    def __init__(self, size: str, variant: str):
        self.size, self.variant, self.name = size, variant, f"TVM float32 {variant}"
        self.weight_bytes = 0

    def make(self) -> Any:
        from benchmarks.tvm_dense import TvmModel
        from tvm_c4n.checkpoint import open_checkpoint

        source = model_folder(self.size, Format("float16", 0))
        return TvmModel(open_checkpoint(source), self.variant, CACHE / "tvm" / self.size)

    def open(self) -> None:
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


def contenders(
    sizes: list[str], formats: list[str], baselines: list[str], tvm: list[str]
) -> list[Contender]:
    """Return the contenders of a measurement, by size."""
    found: list[Contender] = []
    for size in sizes:
        found += [C4nModel(size, Format.parse(text)) for text in formats]
        found += [LlamaCpp(size, kind) for kind in baselines]
        found += [TvmBuild(size, variant) for variant in tvm]
    return found
