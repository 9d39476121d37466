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
from logging import getLogger
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
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from tvm_c4n.compile.cache import load
from tvm_c4n.evaluate.scoring import Backend, engine_scorer, scorer
from tvm_c4n.evaluate.tasks import continuation, last_tokens
from tvm_c4n.model.chat_template import require_chat_template
from tvm_c4n.runtime.generate import generate

_LOG = getLogger(__name__)
# Tokens of an answer, where the task does not say how many: as lm-eval's own models.
_MAX_ANSWER = 256


@register_model("tvm-c4n")
class C4nLM(TemplateLM):  # type: ignore[misc]
    """A model for lm-eval.

    Parameters
    ----------
    path : str
        Artifact, model folder or ``mamba-19m``.
    backend : {"compiled", "torch"}
        Torch scores texts, but generates none.
    threads : int, optional
        Threads that compiled code takes at most.
    max_length : int, optional
        Tokens that the model reads of a text at most; a longer context loses its first ones. If not
        given, as many as a model with attention reads, and 900 of a context where there is no such
        limit.
    batch_size, max_batch_size, device
        lm-eval passes them; texts are scored one at a time on the CPU.
    """

    def __init__(
        self,
        path: str,
        backend: Backend = "compiled",
        threads: int | None = None,
        max_length: int | None = None,
        batch_size: Any = None,
        max_batch_size: Any = None,
        device: Any = None,
    ) -> None:
        super().__init__()
        self._path = path
        self._engine = load(path, threads=threads) if backend == "compiled" else None
        opened = scorer(path, backend) if self._engine is None else engine_scorer(self._engine)
        self._score, self._tokenizer, limit = opened
        if max_length is not None and not 1 < max_length <= (limit or max_length):
            most = "" if limit is None else f" to {limit}"
            raise C4nError(f"max_length={max_length}: {path} reads texts of 2{most} tokens")
        self._limit = limit if max_length is None else max_length
        self._template: str | None = None

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
        first, found, cut = self.prefix_token_id, [], 0
        for _, context, targets in requests:
            # lm-eval puts the first token in the place of an empty context itself.
            own = context[1:] if context[:1] == [first] else context
            kept = self._last(own, targets)
            cut += len(kept) < len(own)
            found.append(continuation(self._score, [first, *kept], targets))
        if cut:
            _LOG.warning("%d of %d contexts were too long and lost their start", cut, len(requests))
        return found

    def _last(self, context: list[int], targets: list[int]) -> list[int]:
        """Return as much of a context as is read with the targets: its last tokens."""
        if self._limit is None:
            return last_tokens(context, targets, None)
        if len(targets) > self._limit:
            raise C4nError(
                f"an answer of {len(targets)} tokens: the model reads {self._limit} at most; leave "
                "the task out, or compile with a longer --context"
            )
        return last_tokens(context, targets, self._limit, most=self._limit)

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """Log-likelihood of whole texts.

        Each is read from a fresh state. One that is too long for the model is read in windows, as
        lm-eval's own models do it: each but the first begins with tokens of the one before.
        """
        return [self._rolled(self.tok_encode(request.args[0])) for request in requests]

    def _rolled(self, ids: list[int]) -> float:
        windows = get_rolling_token_windows(
            ids, self.prefix_token_id, max_seq_len=self._limit or max(len(ids), 1), context_len=1
        )
        return sum((continuation(self._score, *make_disjoint_window(w))[0] for w in windows), 0.0)

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Continue prompts up to a stop string, a token that ends a text, or ``max_gen_toks``."""
        return [self._answer(*request.args) for request in requests]

    def _answer(self, prompt: str, options: dict[str, Any]) -> str:
        if self._engine is None:
            raise C4nError("torch generates no text; leave backend=torch out of --model_args")
        wanted = dict(normalize_gen_kwargs(options, _MAX_ANSWER))
        count, stop = wanted.pop("max_gen_toks"), wanted.pop("until")
        del wanted["do_sample"]  # otherwise the temperature is 0
        ids = self._tokenizer.prompt(prompt)
        # A chat template may have written the token that the tokenizer puts in front.
        ids = ids[1:] if ids[:2] == 2 * [self.prefix_token_id] else ids
        if self._limit is not None:
            if count >= self._limit:
                raise C4nError(
                    f"max_gen_toks={count}: the model reads {self._limit} tokens at most, those of "
                    "the prompt among them; ask for fewer with --gen_kwargs"
                )
            ids = ids[-(self._limit - count) :]
        stop = [text for text in stop if text]
        return "".join(generate(self._engine, ids, count, stop=stop, **wanted))

    @property
    def tokenizer_name(self) -> str:
        """What lm-eval tells caches of chats apart by."""
        return self._path

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """Return the source of the model's chat template; a word names one of several."""
        folder = self._tokenizer.folder
        if not chat_template or folder is None:
            return None
        self._template = chat_template if isinstance(chat_template, str) else None
        return require_chat_template(folder, self._template).source

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """Return the text of a chat."""
        return self._tokenizer.apply_chat_template(
            chat_history, add_generation_prompt=add_generation_prompt, template=self._template
        )


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    try:
        cli_evaluate()
    except C4nError as error:
        _end(error)
