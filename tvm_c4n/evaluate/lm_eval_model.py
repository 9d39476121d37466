"""The model ``tvm-c4n`` for EleutherAI's lm-eval: any of its tasks on compiled code or torch.

    python -m tvm_c4n.evaluate.lm_eval_model run --model tvm-c4n \
        --model_args path=model.art --tasks lambada_openai,piqa

is lm-eval's own command line with this model added to its registry; from Python, importing this
module adds it. The package also declares the entry point ``lm_eval.models``; lm-eval 0.4.13 does
not look for entry points by itself.
"""

# ruff: noqa: E402 - a missing extra is said before anything is imported from it

from __future__ import annotations

import sys
from typing import Any

from tvm_c4n.errors import C4nError
from tvm_c4n.extras import require


def _end(error: C4nError) -> None:
    """End a program with the error's line and exit code; where this is a module, raise it."""
    if __name__ != "__main__":
        raise error
    print(f"error: {error}", file=sys.stderr)
    sys.exit(error.exit_code)


try:
    require("lm-eval", "this model of lm-eval")
except C4nError as error:
    _end(error)

from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model

from tvm_c4n.evaluate.scoring import Backend, scorer
from tvm_c4n.evaluate.tasks import continuation, last_tokens


@register_model("tvm-c4n")
class C4nLM(TemplateLM):  # type: ignore[misc]
    """A model for lm-eval.

    Parameters
    ----------
    path : str
        Artifact, model folder or ``mamba-19m``.
    backend : {"compiled", "torch"}
    threads : int, optional
        Threads that compiled code takes at most.
    batch_size, max_batch_size, device
        lm-eval passes them; texts are scored one at a time on the CPU.
    """

    def __init__(
        self,
        path: str,
        backend: Backend = "compiled",
        threads: int | None = None,
        batch_size: Any = None,
        max_batch_size: Any = None,
        device: Any = None,
    ) -> None:
        super().__init__()
        self._score, self._tokenizer, self._context = scorer(path, backend, threads=threads)

    @property
    def eot_token_id(self) -> int:
        """The separator token, which ends a text."""
        return self._tokenizer.separator

    @property
    def prefix_token_id(self) -> int:
        """The token that starts every text."""
        return self._tokenizer.start

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **kwargs: Any
    ) -> list[int]:
        """Tokenise a text."""
        return self._tokenizer.encode(string)

    def _loglikelihood_tokens(
        self, requests: list[tuple[Any, list[int], list[int]]], **kwargs: Any
    ) -> list[tuple[float, bool]]:
        # lm-eval puts the first token in the place of an empty context itself.
        first, found = self.prefix_token_id, []
        for _, context, targets in requests:
            if context[:1] != [first]:
                context = [first, *last_tokens(context, targets, self._context)]
            found.append(continuation(self._score, context, targets))
        return found

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """Log-likelihood of whole texts, each read from a fresh state."""
        texts = [self.tok_encode(request.args[0]) for request in requests]
        return [continuation(self._score, [self.prefix_token_id], ids)[0] for ids in texts]

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Not offered: tasks that generate text ask for instruction-tuned models."""
        raise C4nError("tvm-c4n scores texts; tasks that generate text are not supported")


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    try:
        cli_evaluate()
    except C4nError as error:
        _end(error)
