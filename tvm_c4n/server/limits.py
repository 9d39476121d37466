"""What one server takes at most: every buffer, queue and wait has its number here."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import inf

from tvm_c4n.errors import C4nError


@dataclass(frozen=True)
class Limits:
    """Limits of a server.

    Attributes
    ----------
    slots : int
        Answers of a model that are decoded together.
    queue : int
        Answers that wait for a slot; more are refused with 429.
    max_tokens : int
        Tokens of one answer.
    max_prompt : int
        Tokens of one prompt.
    max_choices : int
        Answers that one request may ask for, all its prompts together.
    cache_bytes : int
        Of kept states of prompts, over all models.
    body_bytes : int
        Of the body of a request.
    connections : int
        Open at once.
    unread_pieces : int
        Pieces of one answer that wait for its reader; the answer pauses then and leaves its slot.
    header_secs, body_secs : float
        Within which a request's head and its body must have come.
    stalled_secs : float
        After which a connection is cut whose reader takes nothing.
    request_secs : float
        After which an answer ends where it is.
    shutdown_secs : float
        That answers have to end by themselves when the server stops.
    """

    slots: int = 8
    queue: int = 64
    max_tokens: int = 4096
    max_prompt: int = 32768
    max_choices: int = 16
    cache_bytes: int = 256 << 20
    body_bytes: int = 4 << 20
    connections: int = 512
    unread_pieces: int = 256
    header_secs: float = 10.0
    body_secs: float = 30.0
    stalled_secs: float = 30.0
    request_secs: float = 600.0
    shutdown_secs: float = 5.0

    def check(self) -> None:
        """Check the numbers.

        Raises
        ------
        C4nError
            One that is too small: a queue and a cache may be 0, nothing else.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name in ("queue", "cache_bytes", "shutdown_secs") else 1
            if not least <= value < inf:
                raise C4nError(f"{field.name} is {value}; use {least} or more")
