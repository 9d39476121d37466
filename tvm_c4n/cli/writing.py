"""Carries requests out on a loaded model: samples of each, as text or as JSON lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tvm_c4n.cli.console import say, write_text
from tvm_c4n.cli.requests import Request
from tvm_c4n.cli.results import figures, result, write_json
from tvm_c4n.errors import C4nError

if TYPE_CHECKING:
    from tvm_c4n.runtime.continuation import Continuation
    from tvm_c4n.runtime.engine import Engine
    from tvm_c4n.runtime.generate import Stats
    from tvm_c4n.runtime.sampling import SamplingParams
    from tvm_c4n.runtime.saved_state import SavedState


class Writer:
    """Writes the continuations of requests.

    Parameters
    ----------
    engine : Engine
    params : SamplingParams
        Of the first sample; each further one has the next seed.
    limit, samples : int
        Tokens of a continuation at most, and how many of them a request gets.
    load_secs : float
        What it took to load the model.
    saved : SavedState, optional
        What comes before the prompt.
    """

    def __init__(
        self,
        engine: Engine,
        params: SamplingParams,
        limit: int,
        samples: int,
        load_secs: float,
        saved: SavedState | None = None,
    ) -> None:
        from tvm_c4n.runtime.prefix_cache import PrefixCache

        self._engine, self._params, self._limit = engine, params, limit
        self._samples, self._load_secs, self._saved = samples, load_secs, saved
        self._cache = PrefixCache()
        if saved is not None:
            self._cache.keep(saved.tokens, saved.kept.state, saved.kept.logits)

    def text(self, request: Request, *, quiet: bool) -> None:
        """Print the samples of a request, each after its prompt, and figures on stderr."""
        ids = self._tokens(request)
        for number, (pieces, _, stats) in enumerate(self._texts(ids), 1):
            if self._samples > 1 and not quiet:
                typer.echo(f"sample {number} of {self._samples}:", err=True)
            write_text("" if request.messages else request.prompt, pieces)
            if not quiet:
                say(figures(stats, self._load_secs))

    def json(self, request: Request) -> None:
        """Print the samples of a request as JSON, one on a line."""
        ids = self._tokens(request)
        for number, (pieces, continuation, stats) in enumerate(self._texts(ids)):
            for _ in pieces:
                pass
            sample = {"sample": number} if self._samples > 1 else {}
            labels = {**request.labels, **sample}
            write_json(result(continuation, stats, self._load_secs, labels))

    def all_json(self, requests: Sequence[Request]) -> None:
        """Print the samples of requests as JSON; one that fails has an ``error``.

        Raises
        ------
        C4nError
            Some failed; after all were tried.
        """
        failed = 0
        for request in requests:
            try:
                self.json(request)
            except C4nError as error:
                failed += 1
                write_json({**request.labels, "error": str(error)})
            self._cache.clear()
        if failed:
            raise C4nError(
                f'{failed} of {len(requests)} prompts failed: see "error" of their lines'
            )

    def save(self, path: Path, request: Request) -> None:
        """Save the state after the text that was written last, which must be the only one."""
        from tvm_c4n.runtime.answer import read_to_end
        from tvm_c4n.runtime.saved_state import save_state

        prompt, continuation = self._last
        ids, kept = read_to_end(self._engine, prompt, continuation)
        messages = self._messages(request)
        if messages:
            messages.append({"role": "assistant", "content": continuation.text})
        save_state(path, ids, kept, self._engine.config, messages)

    def _messages(self, request: Request) -> list[dict[str, Any]]:
        earlier = self._saved.messages if self._saved is not None and request.messages else []
        return [*earlier, *request.messages]

    def _tokens(self, request: Request) -> list[int]:
        tokenizer = self._engine.tokenizer
        if messages := self._messages(request):
            return tokenizer.chat(messages)
        if self._saved is None:
            return tokenizer.prompt(request.prompt)
        return [*self._saved.tokens.tolist(), *tokenizer.encode(request.prompt)]

    def _texts(self, ids: list[int]) -> Iterator[tuple[Iterator[str], Continuation, Stats]]:
        from tvm_c4n.runtime.answer import answer
        from tvm_c4n.runtime.continuation import Continuation
        from tvm_c4n.runtime.generate import Stats

        for number in range(self._samples):
            params = replace(self._params, seed=self._params.seed + number)
            continuation = Continuation(self._engine.tokenizer, ids, self._limit, params)
            stats = Stats()
            self._last = ids, continuation
            pieces = answer(self._engine, self._cache, ids, continuation, stats)
            yield (piece for piece in pieces if piece), continuation, stats
