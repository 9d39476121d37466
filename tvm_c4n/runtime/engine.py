"""A compiled model ready to run: weights mapped, states allocated, functions bound."""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n._tvm_runtime import from_dlpack, get_global_func, tensor
from tvm_c4n.errors import ArtifactError, C4nError
from tvm_c4n.model.tokenizer import TextTokenizer
from tvm_c4n.runtime import huge_pages
from tvm_c4n.runtime.artifact import Artifact, open_artifact
from tvm_c4n.runtime.contention import check_threads
from tvm_c4n.runtime.fastest_count import fastest_count
from tvm_c4n.runtime.library import check_machine, load_library, open_machine
from tvm_c4n.runtime.manifest import Manifest
from tvm_c4n.runtime.state import State, check_state, copied, fingerprint_of, restore
from tvm_c4n.runtime.thread_controller import ThreadController
from tvm_c4n.runtime.thread_pool import POOL, Exclusive, cores, default_threads, use
from tvm_c4n.runtime.tokens import Ids, check_room, check_token, check_tokens

# What ``[]`` of a result comes to, after Python's checks, which take 4 us
# (docs/decisions/python-step-overhead.md).
_item = get_global_func("ffi.ArrayGetItem")


class Engine:
    """Runs an artifact on this machine; make one with `Engine.load`.

    It belongs to one thread at a time: a call while another thread is in one raises a C4nError.
    Several engines, of one artifact or of different ones, may run at once, each in its thread.
    A process that is forked after that can neither use nor load one: C4nError again.

    Attributes
    ----------
    config : ModelConfig
    manifest : Manifest
    fingerprint : str
        Tells the states of this model from those of others.
    alone : Exclusive
        Held while a thread uses the virtual machine or the states.
    """

    def __init__(self, artifact: Artifact, *, threads: int | None = None):
        self.artifact = artifact
        self.manifest: Manifest = artifact.manifest
        self.config = self.manifest.description()
        self.fingerprint = fingerprint_of(self.manifest)
        self._vocab = self.config.vocab_size
        # Tokens of the text, and of the longest one.
        self._read, self._room = 0, self.config.context or math.inf
        self.alone = Exclusive()
        self.set_threads(default_threads() if threads is None else threads)
        self._migrated = False
        try:
            self._bind(choose=threads is None)
        except C4nError:
            raise
        except Exception as error:  # whatever TVM makes of a damaged library
            said = " ".join(str(error).split())
            raise ArtifactError(
                f"{artifact.path} cannot be loaded: {said}; compile the model again"
            ) from error

    def _bind(self, *, choose: bool) -> None:
        """Load the library, bind weights and states, and take a step to see that all fits.

        `choose` a count of threads, too: where cores are of several kinds, by what is fastest.

        TVM compares each tensor that a kernel gets with the shape that it was compiled for; the
        vocabulary, which tokens are checked by, is compared with the logits that come out.
        """
        manifest = self.manifest
        self._library = load_library(self.artifact.path / manifest.library)
        self._vm = open_machine(self._library, self.artifact)
        # These arrays own the memory that the tensors point to.
        self._arrays = self.artifact.weights()
        self._weights = [from_dlpack(array) for array in self._arrays]
        self._token = tensor(np.zeros(1, np.int32))
        self._token_id = np.from_dlpack(self._token)  # a view: the one that `step` writes to
        self._specs = self.config.states()
        self._states = [tensor(np.zeros(state.shape, state.dtype)) for state in self._specs]
        # Views: what is written to them is what the kernels read.
        self._state_arrays = [np.from_dlpack(state) for state in self._states]
        # A saved function holds its arguments: a call converts no weights.
        self._vm.save_function("step", "bound_step", self._token, *self._states, *self._weights)
        self._step = self._vm["bound_step"]
        logits = np.from_dlpack(_item(self._step(), 0))
        if logits.shape != (1, self._vocab) or logits.dtype != np.float32:
            raise ArtifactError(
                f"{self.artifact.path}: vocab_size is {self._vocab}, the library's logits are "
                f"{list(logits.shape)} {logits.dtype}; compile the model again"
            )
        if choose:
            self._choose_threads()
        self.reset()

    def _choose_threads(self) -> None:
        """Take the cores of as many kinds as are fastest together."""
        most = self._threads
        counts = {min(count, most) for count in cores().counts}

        def step(count: int) -> None:
            use(count)
            self._step()

        if len(counts) > 1:
            self.set_threads(fastest_count(sorted(counts), step))

    @cached_property
    def tokenizer(self) -> TextTokenizer:
        """The model's tokenizer, and the tokens that start and end its texts."""
        return self.artifact.tokenizer()

    @classmethod
    def load(cls, path: str | Path, *, threads: int | None = None) -> Engine:
        """Load an artifact folder; `Artifact.verify` compares its weights with their sha256 too.

        Parameters
        ----------
        path : Path
        threads : int, optional
            At most; default: one for each core, or for each of the bigger ones where a few steps
            show that this is faster. See `set_threads`.

        Raises
        ------
        ArtifactError
            The folder is damaged, or was compiled for CPU features that this machine lacks.
        """
        artifact = open_artifact(path)
        check_machine(artifact)
        artifact.verify(code_only=True)
        return cls(artifact, threads=threads)

    def set_threads(self, threads: int, *, adapt: bool = True) -> None:
        """Use this many threads from now on.

        Parameters
        ----------
        threads : int
        adapt : bool
            Steps and chunks of a prompt take fewer while other programs need the cores; see
            `thread_controller`. False: they never do, for measurements.

        Raises
        ------
        C4nError
            Fewer than one, or more than this machine has cores.
        """
        check_threads(threads)
        with self.alone:
            self._threads, self._controller = threads, ThreadController(threads)
            self._adapts = adapt
            # Until then steps take this many threads, unwatched.
            self._watch_at, self._step_threads = 0.0 if adapt else math.inf, threads
            use(threads)

    def reset(self) -> None:
        """Forget the text: states of zeros."""
        with self.alone:
            self._read = 0
            for array in self._state_arrays:
                array[...] = 0

    def state(self) -> State:
        """Copy what the model carries after the tokens read so far."""
        with self.alone:
            arrays = copied(self._state_arrays, self._specs, self._read)
            return State(arrays, self._read, self.fingerprint)

    def set_state(self, state: State) -> None:
        """Go on from a state, whatever was read before; it may be set any number of times.

        Raises
        ------
        C4nError
            It belongs to another model, or does not fit the states that this one was compiled for.
        """
        check_state(state, self.fingerprint, self.config)
        with self.alone:
            restore(self._state_arrays, self._specs, state)
            self._read = state.read

    def prefill(self, ids: Ids) -> NDArray[np.float32]:
        """Read tokens, continuing from the state.

        Returns
        -------
        ndarray, (vocab,) float32
            Logits of the token after the last one.

        Raises
        ------
        C4nError
            No tokens, one that is no integer of the vocabulary, or more than attention has room
            for; so do `step` and `score`.
        """
        return np.asarray(self._chunks("prefill", ids)[-1][0])

    def step(self, token: int) -> NDArray[np.float32]:
        """Read one token; returns logits ``(vocab,)`` float32, which no later step overwrites.

        Python itself is slow here: the weights have just pushed all it needs out of the caches. So
        there are few statements, and nothing is copied.
        """
        if type(token) is not int or not 0 <= token < self._vocab:
            token = check_token(token, self._vocab)
        with self.alone:
            if self._read >= self._room:
                check_room(self._read, 1, self.config.context)
            self._read += 1
            self._token_id[0] = token
            if perf_counter() < self._watch_at and self._step_threads == POOL.threads:
                logits = _item(self._step(), 0)
            else:
                logits = self._watched_step()
        found: NDArray[np.float32] = np.from_dlpack(logits)[0]
        return found

    def _watched_step(self) -> Any:
        """Step with the threads of the controller, which observes what it took."""
        controller = self._controller
        use(controller.threads)
        began, cpu = perf_counter(), process_time()
        logits = _item(self._step(), 0)
        ended = perf_counter()
        if self._migrated or self._weights_ready():
            self._watch_at = ended + controller.observe(ended - began, process_time() - cpu)
            self._step_threads = controller.threads
        return logits

    def _weights_ready(self) -> bool:
        """Ask whether weights still migrate: that thread's time is not that of other programs."""
        self._migrated = huge_pages.ready()
        return self._migrated

    def score(self, ids: Ids) -> NDArray[np.float32]:
        """Read tokens, continuing from the state; returns the logits ``(len(ids), vocab)``."""
        return np.concatenate(self._chunks("score", ids))

    def call(self, function: str, *arguments: Any) -> Any:
        """Call a function of the library with arguments of one's own before the weights.

        It takes as many threads as there are free cores, like a chunk of a prompt.

        Returns
        -------
        tvm.runtime.Tensor
            Its first result.
        """
        with self.alone:
            use(self._threads_with_cores())
            return _item(self._vm[function](*arguments, *self._weights), 0)

    def _threads_with_cores(self) -> int:
        return self._controller.threads_with_cores() if self._adapts else self._threads

    def _chunks(self, name: str, ids: Ids) -> list[NDArray[np.float32]]:
        array, chunk = check_tokens(ids, self._vocab), self.manifest.chunk
        function = self._vm[name]
        out: list[NDArray[Any]] = []
        with self.alone:
            self._read = check_room(self._read, len(array), self.config.context)
            for start in range(0, len(array), chunk):
                use(self._threads_with_cores())
                tokens = tensor(array[start : start + chunk])
                logits = _item(function(tokens, *self._states, *self._weights), 0)
                out.append(np.from_dlpack(logits))
        return out
