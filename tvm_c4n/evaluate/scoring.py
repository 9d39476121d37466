"""Anything that gives logits, as one function: ``score(ids (t,)) -> logits (t, v)``.

What is measured then depends on the model alone: perplexity, tasks and lm-eval all take such a
function, be it compiled code or torch.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.compile.cache import load
from tvm_c4n.errors import C4nError
from tvm_c4n.evaluate.evaluation import engine_score
from tvm_c4n.evaluate.perplexity import Score
from tvm_c4n.extras import require
from tvm_c4n.model.config import check_tensors
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.tokenizer import TextTokenizer, load_tokenizer
from tvm_c4n.progress import Progress

if TYPE_CHECKING:
    from tvm_c4n.runtime.engine import Engine

Backend = Literal["compiled", "torch"]


class Scorer(NamedTuple):
    """A model that is open for scoring.

    Attributes
    ----------
    score : callable
    tokenizer : TextTokenizer
    context : int or None
        Tokens of the longest text that it reads; None without a limit.
    """

    score: Score
    tokenizer: TextTokenizer
    context: int | None


def torch_score(model: str | Path) -> Score:
    """Score a model folder with torch on the CPU, its weights as they are stored."""
    require("prune", "--backend torch")
    import torch

    from tvm_c4n.healing.student import Student

    checkpoint = open_checkpoint(model)
    config = describe_model(checkpoint.config)
    check_tensors(config, checkpoint)
    student = Student(checkpoint, config, torch.device("cpu")).requires_grad_(False)

    def score(ids: NDArray[np.int64]) -> NDArray[Any]:
        last, head = student(torch.from_numpy(np.asarray(ids, np.int64))[None])
        logits: NDArray[Any] = (last[0] @ head.T).numpy()
        return logits

    return score


def scorer(
    model: str | Path,
    backend: str = "compiled",
    *,
    threads: int | None = None,
    progress: Progress | None = None,
    notify: Callable[[str], None] | None = None,
) -> Scorer:
    """Open a model for scoring.

    Parameters
    ----------
    model : str or Path
        Artifact, Hugging Face folder, C4n folder or the name of an embedded model; an artifact
        only for compiled code.
    backend : {"compiled", "torch"}
        A folder is compiled for the former; see `tvm_c4n.compile.cache`.
    threads : int, optional
        Threads that compiled code takes at most.
    progress, notify : callable, optional
        See `tvm_c4n.compile.cache.cached_artifact`.

    Raises
    ------
    C4nError
        The model is damaged, or the backend is unknown.
    """
    if backend == "torch":
        checkpoint = open_checkpoint(model, progress)
        context = describe_model(checkpoint.config).context
        return Scorer(torch_score(checkpoint.path), load_tokenizer(checkpoint.path), context)
    if backend != "compiled":
        raise C4nError(f"backend {backend!r} is not compiled or torch")
    return engine_scorer(load(model, threads=threads, progress=progress, notify=notify))


def engine_scorer(engine: Engine) -> Scorer:
    """Return an engine that nobody else uses as a model for scoring."""
    return Scorer(engine_score(engine), engine.tokenizer, engine.config.context)
