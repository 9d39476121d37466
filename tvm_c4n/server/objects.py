"""OpenAI's objects: what a completion, a chat completion and their chunks look like."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isnan
from typing import Any

from tvm_c4n._version import __version__
from tvm_c4n.model.tokenizer import TextTokenizer
from tvm_c4n.runtime.logprobs import TokenLogprobs
from tvm_c4n.server.mailbox import Piece


@dataclass
class Usage:
    """Tokens of a request.

    Attributes
    ----------
    prompt, cached, completion : int
        Tokens of its prompts, those of them that kept states had read, and those of its answers.
    """

    prompt: int = 0
    cached: int = 0
    completion: int = 0

    def content(self) -> dict[str, Any]:
        """Return the object."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        }


@dataclass
class Form:
    """What the answers of one request are put into.

    Attributes
    ----------
    model : str
    tokenizer : TextTokenizer
    logprobs : bool
        Whether they were asked for.
    """

    model: str
    tokenizer: TextTokenizer
    logprobs: bool
    created: int = field(default_factory=lambda: int(time.time()))
    kind: str = field(default="text_completion", init=False)
    chunk_kind: str = field(default="text_completion", init=False)
    prefix: str = field(default="cmpl", init=False)

    def __post_init__(self) -> None:
        self._head = {
            "id": f"{self.prefix}-{uuid.uuid4().hex}",
            "created": self.created,
            "model": self.model,
            "system_fingerprint": f"tvm-c4n-{__version__}",
        }
        # Characters of each answer that stand before the next token with logprobs.
        self._offsets: dict[int, int] = {}

    def whole(self, choices: list[dict[str, Any]], usage: Usage) -> dict[str, Any]:
        """Return the object of all answers."""
        return self._head | {"object": self.kind, "choices": choices, "usage": usage.content()}

    def chunk(self, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        """Return the object of one event of a stream."""
        return self._head | {"object": self.chunk_kind, "choices": choices} | more

    def opening(self, index: int) -> dict[str, Any] | None:
        """Return the choice that begins an answer's stream, if there is one."""
        return None

    def delta(self, piece: Piece) -> dict[str, Any]:
        """Return the choice of an event."""
        return self._choice(piece.choice, piece.text, piece.scored, piece.finish)

    def choice(self, index: int, pieces: Sequence[Piece]) -> dict[str, Any]:
        """Return the choice of a whole answer."""
        text = "".join(piece.text for piece in pieces)
        scored = [one for piece in pieces for one in piece.scored]
        return self._choice(index, text, scored, pieces[-1].finish)

    def token_text(self, token: int) -> str:
        """Return a token's text; one that holds a part of a character has U+FFFD."""
        return str(self.tokenizer.tokenizer.decode([token], skip_special_tokens=False))

    def _choice(
        self, index: int, text: str, scored: Sequence[TokenLogprobs], finish: str | None
    ) -> dict[str, Any]:
        logprobs = self._logprobs(index, scored) if self.logprobs else None
        return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}

    def _logprobs(self, index: int, scored: Sequence[TokenLogprobs]) -> dict[str, Any]:
        tokens = [self.token_text(one.token) for one in scored]
        top = [
            None
            if isnan(one.logprob)
            else {self.token_text(token): logprob for token, logprob in one.top}
            for one in scored
        ]
        offsets, at = [], self._offsets.get(index, 0)
        for one in scored:
            offsets.append(at)
            at += len(self.tokenizer.decode([one.token]))  # special tokens are not in the text
        self._offsets[index] = at
        return {
            "tokens": tokens,
            "token_logprobs": [None if isnan(one.logprob) else one.logprob for one in scored],
            "top_logprobs": top,
            "text_offset": offsets,
        }


@dataclass
class ChatForm(Form):
    """What the answers of a chat are put into."""

    kind: str = field(default="chat.completion", init=False)
    chunk_kind: str = field(default="chat.completion.chunk", init=False)
    prefix: str = field(default="chatcmpl", init=False)

    def opening(self, index: int) -> dict[str, Any] | None:
        """Return the choice that says who speaks."""
        delta = {"role": "assistant", "content": ""}
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}

    def delta(self, piece: Piece) -> dict[str, Any]:
        """Return the choice of an event."""
        return {
            "index": piece.choice,
            "delta": {"content": piece.text} if piece.text or not piece.finish else {},
            "logprobs": self._logprobs(piece.choice, piece.scored) if self.logprobs else None,
            "finish_reason": piece.finish,
        }

    def _choice(
        self, index: int, text: str, scored: Sequence[TokenLogprobs], finish: str | None
    ) -> dict[str, Any]:
        return {
            "index": index,
            "message": {"role": "assistant", "content": text, "refusal": None},
            "logprobs": self._logprobs(index, scored) if self.logprobs else None,
            "finish_reason": finish,
        }

    def _logprobs(self, index: int, scored: Sequence[TokenLogprobs]) -> dict[str, Any]:
        return {
            "content": [
                self._token(one.token, one.logprob)
                | {"top_logprobs": [self._token(*other) for other in one.top]}
                for one in scored
            ],
            "refusal": None,
        }

    def _token(self, token: int, logprob: float) -> dict[str, Any]:
        text = self.token_text(token)
        cut = "\ufffd" in text
        return {"token": text, "logprob": logprob, "bytes": None if cut else list(text.encode())}
