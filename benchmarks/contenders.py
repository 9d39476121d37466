"""What is measured against each other: our models, llama.cpp's and TVM's own build of them."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.llama_cpp import baseline
from benchmarks.machine import CACHE
from benchmarks.models import REAL, artifact, model_folder, state_bytes
from benchmarks.options import words
from benchmarks.random_models import Format
from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.state_choices import choose_state_dtypes
from tvm_c4n.runtime.bench import Cell

DENSE = Format("float16", 0)


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


class Contender(ABC):
    """One model in one engine.

    Attributes
    ----------
    name : str
        For example ``C4n int4 n=2``.
    engine : {"tvm_c4n", "llama.cpp", "TVM"}
    size : str
        For example ``130m``.
    weight_bytes : int
        Bytes of all weights; known once it is open.
    most_threads : int
        It is not measured with more.
    """

    name: str
    engine: str
    size: str
    weight_bytes: int = 0
    most_threads: int = os.cpu_count() or 1

    @abstractmethod
    def make(self) -> Any:
        """Make the files that are missing."""

    @abstractmethod
    def open(self) -> None:
        """Load and warm up."""

    @abstractmethod
    def token_bytes(self, test: Test) -> int:
        """Return the bytes that a generated token moves: the weights that it needs, and states."""

    @abstractmethod
    def measure(self, test: Test, threads: int) -> float:
        """Run a test once; returns seconds."""

    def sample(self, test: Test, threads: int) -> dict[str, Any]:
        """Run a test once; returns what files say of it."""
        secs = self.measure(test, threads)
        what = {"type": "sample", "engine": self.engine, "size": self.size, "row": self.name}
        what |= {"test": str(test), "tokens": test.tokens, "threads": threads, "secs": secs}
        return what | {"weight_bytes": self.weight_bytes}


class C4nModel(Contender):
    """A compiled model of ours in this process; `target` is one whose code this machine runs."""

    engine = "tvm_c4n"

    def __init__(self, size: str, fmt: Format, target: str = "host"):
        self.size, self.fmt, self.target = size, fmt, target
        self.name = f"C4n {fmt.dtype} " + (f"n={fmt.removed}" if fmt.removed else "dense")
        self.name += ", float16 states" * fmt.half_state

    def make(self) -> Path:
        return artifact(self.size, self.fmt, self.target)

    @property
    def _source(self) -> Path | str:
        return model_folder(self.size, self.fmt)

    def open(self) -> None:
        from tvm_c4n.runtime.engine import Engine

        self._engine = Engine.load(self.make())
        self.weight_bytes = self._engine.manifest.weight_bytes

    def token_bytes(self, test: Test) -> int:
        # Embeddings beside a head, and experts that were not chosen, are not read.
        config, model = self._engine.config, open_checkpoint(self._source)
        stored = ((model.weight(name), share) for name, share in config.shares().items())
        idle = sum((1 - share) * weight.size_bytes for weight, share in stored if weight)
        return self.weight_bytes - round(idle) + state_bytes(config, test.n_gen)

    def measure(self, test: Test, threads: int) -> float:
        """Run a test after a short warm-up, like that of llama-bench in `baseline.run`."""
        Cell(self._engine, threads, min(test.n_prompt, 16), min(test.n_gen, 2)).measure()
        return Cell(self._engine, threads, test.n_prompt, test.n_gen).measure() / 1e9


class NamedModel(C4nModel):
    """A model that has no format of its own: see `model_folder`."""

    def __init__(self, source: str, label: str):
        super().__init__(REAL, Format("int4", 0))
        self._named, self.name = source, f"C4n {label}"

    def make(self) -> Path:
        return artifact(self._named, self.fmt)

    @property
    def _source(self) -> Path | str:
        return model_folder(self._named, self.fmt)


class LlamaCpp(Contender):
    """A GGUF file in a llama-bench process of its own."""

    engine = "llama.cpp"

    def __init__(self, size: str, kind: str):
        self.size, self.kind, self.name = size, kind, f"llama.cpp {kind}"

    def make(self) -> Path:
        return baseline.gguf_file(self.size, self.kind)

    def open(self) -> None:
        """Run it once, so that the file is in the page cache."""
        self._file = self.make()
        self.weight_bytes = baseline.run(self._file, 1, 0, 1).weight_bytes

    def token_bytes(self, test: Test) -> int:
        described = describe_model(open_checkpoint(model_folder(self.size, DENSE)).config)
        config = choose_state_dtypes(described, None, None)
        idle = (
            0 if config.tie_embeddings else baseline.tensor_bytes(self._file, "token_embd.weight")
        )
        return self.weight_bytes - idle + state_bytes(config, test.n_gen)

    def measure(self, test: Test, threads: int) -> float:
        return baseline.run(self._file, threads, test.n_prompt, test.n_gen).secs


class TvmBuild(Contender):
    """TVM's own build of the dense model in this process; see tvm_dense.py.

    Its kernels use one thread, and the slowest takes seconds per token: few tokens are measured.
    """

    engine = "TVM"
    most_threads = 1  # more change nothing
    most_tokens = 4

    def __init__(self, size: str, variant: str):
        self.size, self.variant, self.name = size, variant, f"TVM float32 {variant}"

    def make(self) -> Any:
        from benchmarks.tvm_dense import TvmModel

        source = model_folder(self.size, DENSE)
        return TvmModel(open_checkpoint(source), self.variant, CACHE / "tvm" / self.size)

    def open(self) -> None:
        self._model = self.make()
        self.weight_bytes = self._model.weight_bytes
        self._model.step(0)

    def token_bytes(self, test: Test) -> int:
        return self.weight_bytes + state_bytes(self._model.config, test.n_gen)

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
    sizes: str, formats: str, baselines: str, tvm: str, target: str = "host"
) -> list[Contender]:
    """Return the contenders of a measurement, by size; options but the target are lists."""
    found: list[Contender] = []
    for size in words(sizes):
        found += [C4nModel(size, Format.parse(text), target) for text in words(formats)]
        found += [LlamaCpp(size, kind) for kind in words(baselines)]
        found += [TvmBuild(size, variant) for variant in words(tvm)]
    return found
