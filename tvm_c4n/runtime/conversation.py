"""A text that a person and a model write in turns: a chat, or a story that both continue.

A model with a chat template answers messages. One without goes on with whatever is written: what
the person says stands in the text, and the model's turn ends with a sentence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tvm_c4n.errors import C4nError
from tvm_c4n.model.render_process import NextProcess
from tvm_c4n.runtime.answer import answer
from tvm_c4n.runtime.continuation import Continuation
from tvm_c4n.runtime.engine import Engine
from tvm_c4n.runtime.generate import Stats
from tvm_c4n.runtime.prefix_cache import Kept, PrefixCache
from tvm_c4n.runtime.sampling import SamplingParams
from tvm_c4n.runtime.saved_state import SavedState, load_state, save_state

_ENDS_OF_SENTENCES = (".", "!", "?", '."', '!"', '?"', ".'", "!'", "?'")


@dataclass(frozen=True)
class Turn:
    """What was said and answered.

    Attributes
    ----------
    said, answer : str
    ids : list of int
        All tokens of the text after it.
    """

    said: str
    answer: str
    ids: list[int]


class Conversation:
    """Turns with one model; each reads only what is new.

    Parameters
    ----------
    engine : Engine
        Nobody else uses it meanwhile.
    params : SamplingParams
        Each turn has the next seed.
    limit : int
        Tokens of an answer at most. Without a template a turn ends from half of it on, as soon as
        a sentence does.
    template : bool
        Whether the model answers messages, by its chat template.
    system : str, optional
        With a template: what the system says first.

    Attributes
    ----------
    cache : PrefixCache
    stats : Stats
        Of the last turn.
    """

    def __init__(
        self,
        engine: Engine,
        params: SamplingParams,
        limit: int,
        *,
        template: bool,
        system: str | None = None,
    ) -> None:
        self._engine, self._params, self._limit = engine, params, limit
        self.template, self.system = template, system
        self.cache, self.stats = PrefixCache(), Stats()
        self._turns: list[Turn] = []
        self._loaded: SavedState | None = None
        self._asked = 0
        self._stopped = False
        self._next = NextProcess()

    def prepare(self) -> None:
        """Start what renders the next message, while nobody waits for it."""
        if self.template:
            self._next.prepare()

    def close(self) -> None:
        """End what `prepare` started."""
        self._next.close()

    @property
    def turns(self) -> int:
        """How many turns there were."""
        return len(self._turns)

    @property
    def ids(self) -> list[int]:
        """All tokens of the text so far."""
        if self._turns:
            return self._turns[-1].ids
        return [] if self._loaded is None else self._loaded.tokens.tolist()

    @property
    def text(self) -> str:
        """The text so far."""
        return self._engine.tokenizer.decode(self.ids)

    def messages(self) -> list[dict[str, str]]:
        """Return the messages of a chat so far; [] without a template."""
        if not self.template:
            return []
        found = [] if self.system is None else [{"role": "system", "content": self.system}]
        found += [] if self._loaded is None else self._loaded.messages
        for turn in self._turns:
            found.append({"role": "user", "content": turn.said})
            found.append({"role": "assistant", "content": turn.answer})
        return found

    def say(self, text: str) -> Iterator[str]:
        """Say something and yield the answer, piece by piece.

        Nothing has been said if it fails, or if whoever asked wants no more pieces. `stop` ends
        the answer so that what was written of it stays.

        Parameters
        ----------
        text : str
            May be empty without a template: the model goes on.

        Raises
        ------
        C4nError
            Nothing was said to a model with a template, or the text is as long as it reads.
        """
        ids = self._prompt(text)
        params = replace(self._params, seed=self._params.seed + self._asked)
        self._asked, self._stopped = self._asked + 1, False
        found = Continuation(self._engine.tokenizer, ids, self._room(ids), params)
        self.stats = Stats()
        for piece in answer(self._engine, self.cache, ids, found, self.stats):
            if piece:
                yield piece
            if found.finish_reason is None and (self._stopped or self._ends_here(found)):
                rest = found.end()
                if rest:
                    yield rest
        self._turns.append(Turn(text, found.text, [*ids, *found.tokens]))

    def stop(self) -> None:
        """End the answer that is being given after its next piece."""
        self._stopped = True

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called during the last answer."""
        return self._stopped

    def undo(self) -> bool:
        """Forget the last turn; False if there is none."""
        return bool(self._turns and self._turns.pop())

    def reset(self) -> None:
        """Forget all turns, and what was loaded; what the system says stays."""
        self._turns, self._loaded = [], None

    def save(self, path: Path) -> int:
        """Write the text and its state to a file; returns the number of tokens.

        Raises
        ------
        C4nError
            Nothing was said yet, or the file cannot be written.
        """
        ids = self.ids
        if not ids:
            raise C4nError("there is nothing to save yet: say something first")
        reading = self.cache.read(self._engine, ids)
        kept = Kept(self._engine.state(), reading.logits)
        save_state(path, ids, kept, self._engine.config, self.messages())
        return len(ids)

    def load(self, path: Path) -> int:
        """Go on from a file, forgetting what was said before; returns the number of tokens.

        Raises
        ------
        C4nError
            See `load_state`; the file holds a text, and this is a chat.
        """
        found = load_state(path, self._engine.fingerprint, self._engine.config)
        if self.template and not found.messages:
            raise C4nError(f"{path}: holds a text and no chat")
        self.cache.keep(found.tokens, found.kept.state, found.kept.logits)
        first = found.messages[:1]
        said_first = bool(first) and first[0]["role"] == "system"
        self.system = first[0]["content"] if said_first else None
        self._turns, self._loaded = [], replace(found, messages=found.messages[said_first:])
        return len(found.tokens)

    def _prompt(self, text: str) -> list[int]:
        """Return all tokens up to the answer."""
        tokenizer, before = self._engine.tokenizer, self.ids
        if self.template:
            if not text:
                raise C4nError("say something: this model answers")
            said = [*self.messages(), {"role": "user", "content": text}]
            process = self._next.take()
            try:
                return tokenizer.chat(said, process=process)
            finally:
                process.close()
        if not before:
            return tokenizer.prompt(text)
        return [*before, *tokenizer.encode(_joined(self.text, text))]

    def _room(self, ids: Sequence[int]) -> int:
        """Return how many tokens the answer may have."""
        context = self._engine.config.context
        if context is None:
            return self._limit
        # The last one is not read.
        room = context - len(ids) + 1
        if room < 1:
            raise C4nError(
                f"the text has {len(ids)} tokens: this model reads {context} at most; take turns "
                "back, or begin another one"
            )
        return min(self._limit, room)

    def _ends_here(self, found: Continuation) -> bool:
        """Say whether a model without a template has written enough, and a whole sentence."""
        enough = not self.template and 2 * len(found.tokens) >= self._limit
        return enough and found.text.rstrip().endswith(_ENDS_OF_SENTENCES)


def _joined(before: str, text: str) -> str:
    """Return what is said so that it stands apart from the word before."""
    apart = not text or text[0].isspace() or not before or before[-1].isspace()
    return text if apart else " " + text
