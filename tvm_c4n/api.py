"""`tvm_c4n.Model`: a model that generates, answers and scores, in a few lines of Python.

>>> import tvm_c4n
>>> with tvm_c4n.Model("mamba-19m-n2-int4") as model:
...     print(model.generate("The old bridge", max_tokens=64, temperature=0.8, seed=1))
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self, Unpack, cast

from tvm_c4n.compile.cache import load
from tvm_c4n.errors import C4nError
from tvm_c4n.evaluate.text_score import TextScore, score_tokens
from tvm_c4n.model.chat_template import Messages
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.model.tokenizer import TextTokenizer
from tvm_c4n.progress import Progress
from tvm_c4n.runtime.continuation import Continuation
from tvm_c4n.runtime.describe import model_type
from tvm_c4n.runtime.generate import Stats
from tvm_c4n.runtime.prefix_cache import LIMIT_BYTES
from tvm_c4n.runtime.sampling import SamplingOptions, sampling_params
from tvm_c4n.runtime.state import State
from tvm_c4n.runtime.texts import Text, Texts
from tvm_c4n.runtime.tokens import Ids

Prompt = str | Ids | Messages


class Model:
    """A model ready to use; ``with`` closes it, or `close`.

    It writes one text at a time, for whichever thread asks: whoever begins another one ends the
    first, whose iterator then raises a C4nError. States at the ends of prompts and answers are
    kept, so that a text that begins like one before, such as the next turn of a chat, is read from
    there on.

    Parameters
    ----------
    model : str or Path
        Name of a bundled model, Hugging Face folder, C4n folder, ``org/name`` of a hub, or
        artifact. All but the last are compiled when first used, and kept in ``~/.cache/tvm-c4n``.
    threads : int, optional
        At most; default: one for each core.
    cache_bytes : int
        Of kept states; 0 keeps none.
    progress : callable, optional
        Called as ``progress(what, done, total)`` while the model is compiled.
    notify : callable, optional
        Called once with a sentence for the user, if the model is compiled.

    Attributes
    ----------
    name : str

    Raises
    ------
    C4nError
        The model is missing or damaged, its artifact is not for this machine, or a number is out
        of range. After `close` all that needs the model raises one.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        threads: int | None = None,
        cache_bytes: int = LIMIT_BYTES,
        progress: Progress | None = None,
        notify: Callable[[str], None] | None = None,
    ) -> None:
        self.name = Path(model).name
        engine = load(model, threads=threads, progress=progress, notify=notify)
        self._texts = Texts(engine, cache_bytes)
        # Where `astream` decodes: one thread for all texts, since TVM starts a pool for each.
        self._worker: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        texts = self._texts
        about = "closed" if texts.closed else model_type(texts.engine.manifest)
        return f"<tvm_c4n.Model {self.name}: {about}>"

    def close(self) -> None:
        """Free weights, states, and the thread of `astream`; a text that is being written ends."""
        self._texts.close()
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.shutdown()

    @property
    def config(self) -> ModelConfig:
        """What the model is made of: ``model_type``, ``vocab_size``, ``context``, ``layers``."""
        return self._texts.engine.config

    @property
    def tokenizer(self) -> TextTokenizer:
        """The model's tokenizer, and the tokens that start and end its texts."""
        return self._texts.engine.tokenizer

    @property
    def last(self) -> Continuation | None:
        """What followed the last prompt: its ``text``, ``tokens`` and ``finish_reason``."""
        return None if self._texts.last is None else self._texts.last.continuation

    @property
    def stats(self) -> Stats | None:
        """What the last text took: tokens and seconds."""
        return None if self._texts.last is None else self._texts.last.stats

    def generate(
        self, prompt: Prompt = "", max_tokens: int = 64, **sampling: Unpack[SamplingOptions]
    ) -> str:
        """Return what follows a prompt.

        Parameters
        ----------
        prompt : str, sequence of int or sequence of mapping
            A text, tokens, or the messages of a chat, see `chat`. An empty text: the model begins
            one of its own.
        max_tokens : int
            At most; a token that ends a text ends it earlier, and so does the context of a model
            with attention.
        **sampling
            Fields of `tvm_c4n.runtime.sampling.SamplingParams`, such as ``temperature=0.8``,
            ``seed=1`` or ``stop="."``. Without any the most likely token is taken each time. The
            same seed gives the same text on the same machine with the same number of threads.

        Raises
        ------
        C4nError
            A parameter is unknown or out of range, the prompt has no tokens, one that the model
            does not know, or more than it reads; CheckpointError for tokenizer and chat template.
        """
        return "".join(self.stream(prompt, max_tokens, **sampling))

    def stream(
        self, prompt: Prompt = "", max_tokens: int = 64, **sampling: Unpack[SamplingOptions]
    ) -> Iterator[str]:
        """Yield what follows a prompt, piece by piece; nothing is decoded ahead of the reader.

        Parameters and errors are those of `generate`; wrong ones are refused at once.
        """
        text = self._begin(prompt, max_tokens, sampling)
        return (piece for piece in iter(lambda: self._texts.next(text), None) if piece)

    def astream(
        self, prompt: Prompt = "", max_tokens: int = 64, **sampling: Unpack[SamplingOptions]
    ) -> AsyncGenerator[str, None]:
        """Yield what follows a prompt, piece by piece, for ``async for``.

        A thread decodes, one step for each piece that is asked for; the event loop goes on
        meanwhile. Whoever leaves the loop, or whose task is cancelled, stops it after the step, or
        the part of the prompt, that is under way.

        Parameters and errors are those of `generate`; wrong ones are refused at once.
        """
        return self._pieces(self._begin(prompt, max_tokens, sampling))

    def chat(
        self, messages: Messages, max_tokens: int = 1024, **sampling: Unpack[SamplingOptions]
    ) -> str:
        """Return the answer to messages, by the model's chat template.

        `stream` and `astream` take messages, too. What else a template reads, such as ``tools``,
        goes through `tokenizer`: ``model.generate(model.tokenizer.chat(messages, tools=...))``.

        Parameters
        ----------
        messages : sequence of mapping
            All so far, as for transformers: ``{"role": "user", "content": "Hello"}``. The next
            turn has the answer as the content of ``"assistant"``; only what is new is read.
        max_tokens, **sampling
            As for `generate`.

        Raises
        ------
        CheckpointError
            The model has no chat template, or it refuses the messages.
        C4nError
            Messages that are none; else as `generate`.
        """
        return self.generate(self._tokens_of(messages), max_tokens, **sampling)

    def score(self, text: str | Ids, prompt: Prompt = "") -> TextScore:
        """Return the log-probability of each token of a text.

        Text and prompt begin anew, whatever `set_state` said.

        Parameters
        ----------
        text : str or sequence of int
            At least one token; nothing is put around it.
        prompt : str, sequence of int or sequence of mapping
            What it follows, which is not scored; by default what starts a text.

        Returns
        -------
        TextScore
            ``tokens`` (n,) int32, ``logprobs`` (n,) float64 in natural logarithms, their sum
            ``logprob``, and ``perplexity``.

        Raises
        ------
        C4nError
            No tokens, one that the model does not know, or more than it reads.
        """
        ids = self.tokenizer.encode(text) if isinstance(text, str) else text
        before = self._tokens(prompt, begins=True)
        with self._texts.alone() as engine:
            return score_tokens(engine, ids, before)

    def state(self, prompt: Prompt | None = None) -> State:
        """Return what the model carries after the last text, or after one that is read for it.

        Parameters
        ----------
        prompt : str, sequence of int or sequence of mapping, optional
            A text to read. By default the last one: its prompt and all that followed.

        Raises
        ------
        C4nError
            There is no last text; else as `generate`.
        """
        if prompt is None:
            return self._texts.state()
        return self._texts.state_after(self._tokens(prompt))

    def set_state(self, state: State | None) -> None:
        """Let every text from now on follow that of a state; None: begin anew again.

        Prompts are then read behind it as they are. One state may serve any number of texts.

        Raises
        ------
        C4nError
            It belongs to another model, or does not fit the states that this one was compiled for.
        """
        self._texts.set_follow(state)

    def _begin(self, prompt: Prompt, max_tokens: int, sampling: SamplingOptions) -> Text:
        params = sampling_params(sampling)
        return self._texts.begin(self._tokens(prompt), max_tokens, params)

    def _tokens(self, prompt: Prompt, *, begins: bool = False) -> Ids:
        """Return the tokens of a prompt that follows `set_state`'s text, or begins one."""
        begins = begins or self._texts.follow is None
        if isinstance(prompt, str):
            return self.tokenizer.prompt(prompt) if begins else self.tokenizer.encode(prompt)
        if isinstance(prompt, Sequence) and prompt and isinstance(prompt[0], Mapping):
            return self._tokens_of(cast(Messages, prompt), begins=begins)
        return cast(Ids, prompt)

    def _tokens_of(self, messages: Messages, *, begins: bool = False) -> list[int]:
        if not begins and self._texts.follow is not None:
            raise C4nError("a chat begins a text: call set_state(None) before it")
        return self.tokenizer.chat(messages)

    async def _pieces(self, text: Text) -> AsyncGenerator[str, None]:
        loop = asyncio.get_running_loop()
        while True:
            piece = await loop.run_in_executor(self._thread(), self._texts.next, text)
            if piece is None:
                return
            if piece:
                yield piece

    def _thread(self) -> ThreadPoolExecutor:
        _ = self._texts.engine
        if self._worker is None:
            self._worker = ThreadPoolExecutor(1, thread_name_prefix=f"tvm_c4n {self.name}")
        return self._worker
