"""The library `libc4n.so` of the runner's folder, by ctypes: what c4n.h declares."""

from __future__ import annotations

import ctypes as c
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

OK, FAILED, INVALID, SHORT = range(4)
END, LIMIT, STOPPED = range(3)
_ON_PIECE = c.CFUNCTYPE(c.c_int32, c.POINTER(c.c_char), c.c_size_t, c.c_int32, c.c_void_p)


class C4nFailure(RuntimeError):
    """A status that is not OK: `status`, and what `c4n_error` says."""

    def __init__(self, status: int, line: str) -> None:
        super().__init__(line)
        self.status = status


class Options(c.Structure):
    """`c4n_options`."""

    _fields_ = [
        *((name, c.c_double) for name in ("temperature", "top_p", "min_p")),
        *((f"{name}_penalty", c.c_double) for name in ("repeat", "presence", "frequency")),
        *(("top_k", c.c_int64), ("repeat_last_n", c.c_int64), ("seed", c.c_uint64)),
        *(("limit", c.c_size_t), ("stop", c.POINTER(c.c_char_p)), ("stop_count", c.c_size_t)),
        *(("ends", c.POINTER(c.c_int32)), ("end_count", c.c_size_t), ("tokens_only", c.c_int32)),
    ]


def library(runner: Path) -> c.CDLL:
    """Load the library of a runner's folder."""
    found = c.CDLL(str(runner / "libc4n.so"))
    found.c4n_error.restype = c.c_char_p
    for name in ("c4n_vocab", "c4n_length"):
        getattr(found, name).restype = c.c_size_t
    found.c4n_threads.restype = c.c_int32
    return found


class Model:
    """A handle; methods are the functions of c4n.h without their prefix."""

    def __init__(self, lib: c.CDLL, artifact: Path, threads: int = 1) -> None:
        self._lib, self._handle = lib, c.c_void_p()
        self.call("open", str(artifact).encode(), threads, c.byref(self._handle), handle=False)

    def call(self, name: str, *arguments: Any, handle: bool = True) -> None:
        """Call a function; raises C4nFailure."""
        given = (self._handle, *arguments) if handle else arguments
        status = getattr(self._lib, f"c4n_{name}")(*given)
        if status != OK:
            raise C4nFailure(status, self._lib.c4n_error().decode())

    def close(self) -> None:
        """Close the handle."""
        self._lib.c4n_close(self._handle)

    def length(self) -> int:
        """Tokens of the text."""
        return int(self._lib.c4n_length(self._handle))

    def threads(self) -> int:
        """Threads of its steps."""
        return int(self._lib.c4n_threads(self._handle))

    def prefill(self, tokens: Sequence[int]) -> None:
        """Read tokens."""
        self.call("prefill", (c.c_int32 * len(tokens))(*tokens), c.c_size_t(len(tokens)))

    def logits(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Logits of the next token."""
        out = np.empty(self._lib.c4n_vocab(self._handle), np.float32)
        self.call("logits", out.ctypes.data_as(c.c_void_p), c.c_size_t(out.size))
        return out

    def tokenize(self, text: str, *, as_prompt: bool = True) -> list[int]:
        """Tokens of a text."""
        data, count = text.encode(), c.c_size_t()
        out = (c.c_int32 * (len(data) * 3 + 8))()
        size = c.c_size_t(len(out))
        given = (data, c.c_size_t(len(data)), int(as_prompt))
        self.call("tokenize", *given, out, size, c.byref(count))
        return list(out[: count.value])

    def detokenize(self, tokens: Sequence[int]) -> str:
        """The text of tokens: asks for its size first."""
        ids, count = (c.c_int32 * len(tokens))(*tokens), c.c_size_t()
        given = (ids, c.c_size_t(len(tokens)))
        self._lib.c4n_detokenize(self._handle, *given, None, c.c_size_t(0), c.byref(count))
        out = c.create_string_buffer(count.value)
        self.call("detokenize", *given, out, count, c.byref(count))
        return out.raw[: count.value].decode()

    def generate(
        self, on_piece: Callable[[str, int], object] | None = None, **options: Any
    ) -> tuple[str, list[int], int]:
        """Return text, tokens and reason; ``on_piece(text, token)`` may return true to stop."""
        how, reason, pieces, tokens = Options(), c.c_int(), [], []
        self._lib.c4n_default_options(c.byref(how))
        stop = [each.encode() for each in options.pop("stop", ())]
        how.stop, how.stop_count = (c.c_char_p * len(stop))(*stop), len(stop)
        for name, value in options.items():
            setattr(how, name, value)

        def take(data: Any, size: int, token: int, _: object) -> int:
            pieces.append(data[:size].decode())
            tokens.extend([token] if token >= 0 else [])
            return int(bool(on_piece and on_piece(pieces[-1], token)))

        self.call("generate", c.byref(how), _ON_PIECE(take), None, c.byref(reason))
        return "".join(pieces), tokens, reason.value

    def save(self, path: Path) -> None:
        """Save the state."""
        self.call("save_state", str(path).encode())

    def load(self, path: Path) -> None:
        """Load a state."""
        self.call("load_state", str(path).encode())
