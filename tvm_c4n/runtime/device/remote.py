"""A compiled model on a device: the library and the weights are sent, the text comes back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n._tvm import relax, tvm
from tvm_c4n.errors import ArtifactError, C4nError, DeviceError
from tvm_c4n.model.tokenizer import TextTokenizer
from tvm_c4n.progress import Progress
from tvm_c4n.runtime.artifact import Artifact
from tvm_c4n.runtime.thread_pool import Exclusive
from tvm_c4n.runtime.tokens import Ids, check_room, check_tokens

# TVM's name for threads on the big cores only (`ThreadGroup::kBig`).
_BIG_CORES = 1
_CALLS_TIMED_TOGETHER = 8
_BOUND = {"prefill": "bound_prefill", "step": "bound_step"}


class RemoteEngine:
    """Runs an artifact in the virtual machine of a device, over TVM's RPC.

    It is used like `tvm_c4n.runtime.engine.Engine`; every token crosses the connection. It belongs
    to one thread at a time, too: a call while another thread is in one raises a C4nError. So does
    every call in a process that was forked after it was made: the connection is the parent's.

    Parameters
    ----------
    artifact : Artifact
        Compiled for the device.
    remote : tvm.rpc.RPCSession
        A session that `tvm_c4n.runtime.device.rpc.open_session` opened.
    threads : int, optional
        Threads of the device's pool; default: the pool's own choice.
    progress : callable, optional
        Called as ``progress("sending", bytes sent, bytes in all)``.

    Raises
    ------
    ArtifactError
        The folder is damaged.
    DeviceError
        The device refuses the library, or goes away.
    """

    def __init__(
        self,
        artifact: Artifact,
        remote: Any,
        *,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.artifact, self.manifest = artifact, artifact.manifest
        self.config = self.manifest.description()
        self._remote, self._device = remote, remote.cpu(0)
        self._alone, self._process = Exclusive(), os.getpid()
        if threads is not None:
            self.set_threads(threads)
        artifact.verify()
        try:
            remote.upload(str(artifact.path / self.manifest.library))
            module = remote.load_module(self.manifest.library)
            self._vm = relax.VirtualMachine(module, self._device)
            weights = self._send(artifact.weights(), progress)
            # A saved function holds its last arguments; each makes its own copy on the device.
            for name in ("prefill", "step"):
                self._vm.save_function(name, _BOUND[name], *weights)
            # A tuple does not cross the connection in one piece: it stays there, this gets an item.
            self._item = remote.get_function("vm.builtin.tuple_getitem")
        except Exception as error:  # whatever TVM makes of the device's answer
            raise DeviceError(f"the device cannot load {artifact.path}: {_last(error)}") from error
        self._states = [self._tensor(zeros) for zeros in self._zeros()]
        self._token = self._tensor(np.zeros(1, np.int32))
        self._read = 0
        vocab, found = self.config.vocab_size, len(self.step(0))
        if found != vocab:
            raise ArtifactError(
                f"{artifact.path}: vocab_size is {vocab}, the library has {found} logits; "
                "compile the model again"
            )
        self.reset()

    @cached_property
    def tokenizer(self) -> TextTokenizer:
        """The model's tokenizer, and the tokens that start and end its texts."""
        return self.artifact.tokenizer()

    def _tensor(self, array: NDArray[Any]) -> Any:
        return tvm.runtime.tensor(array, self._device)

    def _send(self, arrays: list[NDArray[Any]], progress: Progress | None) -> list[Any]:
        sent, total = 0, sum(array.nbytes for array in arrays)
        tensors = []
        for array in arrays:
            tensors.append(self._tensor(np.ascontiguousarray(array)))
            sent += array.nbytes
            if progress is not None:
                progress("sending", sent, total)
        return tensors

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        """Enter the engine. Bytes of two processes would mix in the connection."""
        if os.getpid() != self._process:
            raise C4nError(
                "this process was forked from the one that is connected to the device: connect "
                "after the fork"
            )
        with self._alone:
            yield

    def set_threads(self, threads: int) -> None:
        """Use this many of the device's cores, the big ones first."""
        if threads < 1:
            raise C4nError(f"threads is {threads}; a device takes 1 or more")
        with self._in_use():
            self._remote.get_function("runtime.config_threadpool")(_BIG_CORES, threads)

    def reset(self) -> None:
        """Forget the text: states of zeros."""
        with self._in_use():
            self._clear()

    def _clear(self) -> None:
        self._read = 0
        for state, zeros in zip(self._states, self._zeros(), strict=True):
            state.copyfrom(zeros)

    def _zeros(self) -> Iterator[NDArray[Any]]:
        return (np.zeros(state.shape, state.dtype) for state in self.config.states())

    def prefill(self, ids: Ids) -> NDArray[np.float32]:
        """Read tokens, continuing from the state; returns logits ``(vocab,)``."""
        array = check_tokens(ids, self.config.vocab_size)
        chunk = self.manifest.chunk
        with self._in_use():
            self._read = check_room(self._read, len(array), self.config.context)
            # All chunks but the last are read for the state they leave.
            *_, logits = (
                self._call("prefill", self._tensor(array[start : start + chunk]))
                for start in range(0, len(array), chunk)
            )
        return logits

    def step(self, token: int) -> NDArray[np.float32]:
        """Read one token; returns logits ``(vocab,)``."""
        array = check_tokens([token], self.config.vocab_size)
        with self._in_use():
            self._read = check_room(self._read, 1, self.config.context)
            self._token.copyfrom(array)
            return self._call("step", self._token)

    def _call(self, name: str, tokens: Any) -> NDArray[np.float32]:
        try:
            out = self._vm[_BOUND[name]](tokens, *self._states)
            return np.asarray(self._item(out, 0).numpy()[0])
        except Exception as error:
            raise DeviceError(f"the device failed in {name}: {_last(error)}") from error

    def time_test(self, n_prompt: int, n_gen: int, reps: int) -> list[int]:
        """Measure by the device's own clock, which the connection does not slow down.

        Parameters
        ----------
        n_prompt, n_gen : int
            Tokens to read in one go, or step by step; one of them is 0.
        reps : int

        Returns
        -------
        list of int
            Nanoseconds of each repetition.
        """
        name = "prefill" if n_prompt else "step"
        if not n_prompt:
            return self._time(name, self._token, n_gen, reps)
        count = min(n_prompt, self.manifest.chunk)
        tokens = self._tensor(np.arange(count, dtype=np.int32) % self.config.vocab_size)
        chunks = ceil(n_prompt / count)
        # Chunks take the same time each: the last one is counted by its share of tokens.
        return [
            round(ns * n_prompt / (count * chunks)) for ns in self._time(name, tokens, chunks, reps)
        ]

    def _time(self, name: str, tokens: Any, calls: int, reps: int) -> list[int]:
        number = min(calls, _CALLS_TIMED_TOGETHER)
        with self._in_use():
            self._clear()
            try:
                timed = self._vm.time_evaluator(
                    _BOUND[name], self._device, number=number, repeat=reps
                )
                return [round(secs * 1e9 * calls) for secs in timed(tokens, *self._states).results]
            except Exception as error:
                raise DeviceError(f"the device failed in {name}: {_last(error)}") from error


def _last(error: Exception) -> str:
    """Return the last line that says something; TVM puts the remote traceback before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
