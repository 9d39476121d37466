"""State files: a text that was read, kept on disk (docs/reference/format-state.md).

Whoever has a file may have got it from a stranger: everything in it is compared with the model
that is to go on from it before anything is computed with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n.checkpoint.json_reading import parse_value
from tvm_c4n.checkpoint.reading import check_head
from tvm_c4n.checkpoint.safetensors_file import NUMPY_DTYPES, SafetensorsFile
from tvm_c4n.checkpoint.state_file import DIGEST, digest_of, write_state
from tvm_c4n.errors import CheckpointError, shown
from tvm_c4n.model import states
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.runtime.prefix_cache import Kept
from tvm_c4n.runtime.state import State, kept_shape
from tvm_c4n.runtime.tokens import Ids, check_tokens

KIND, FORMAT = "c4n-state", "1"
_TOKENS, _LOGITS = "tokens", "logits"
# The state that counts tokens is not stored: the number of tokens is.
_POSITION = "position"
# As a file has the dtypes of states: float16 as such, which engines hold as bits.
_STORED = {"uint16": "float16"}
_REMEDY = "save it again with --save-state, or with /save in a chat"
_GIVE = "give a file that --save-state, or /save in a chat, has written"


@dataclass(frozen=True, eq=False)
class SavedState:
    """A text that was read, and what the model carries after it.

    Attributes
    ----------
    tokens : ndarray, (n,) int32
    kept : Kept
        The state after the last token, and the logits there.
    messages : list of dict
        Those of a chat whose text this is, each with ``role`` and ``content``; may be empty.
    """

    tokens: NDArray[np.int32]
    kept: Kept
    messages: list[dict[str, str]]


def save_state(
    path: Path,
    ids: Ids,
    kept: Kept,
    config: ModelConfig,
    messages: Sequence[Mapping[str, str]] = (),
) -> None:
    """Write a state file, replacing the one before it at once or not at all.

    Parameters
    ----------
    path : Path
    ids : sequence of int
        All tokens of the text.
    kept : Kept
        The state after the last one.
    config : ModelConfig
        Of the engine that the state is from.
    messages : sequence of mapping
        As in `SavedState`.

    Raises
    ------
    CheckpointError
        A disk error.
    """
    arrays: dict[str, NDArray[Any]] = {_TOKENS: check_tokens(ids, config.vocab_size)}
    arrays[_LOGITS] = kept.logits
    for name, spec, array in zip(_names(config), config.states(), kept.state.arrays, strict=True):
        if spec.name != _POSITION:
            arrays[name] = array.view(_STORED.get(spec.dtype, spec.dtype))
    notes = {
        "kind": KIND,
        "format": FORMAT,
        "fingerprint": kept.state.fingerprint,
        "read": str(kept.state.read),
        "messages": json.dumps(list(messages)),
    }
    write_state(path, arrays, notes)


def load_state(path: Path, fingerprint: str, config: ModelConfig) -> SavedState:
    """Read a state file for a model.

    Parameters
    ----------
    path : Path
    fingerprint : str
        Of the engine that is to go on from it.
    config : ModelConfig
        Of that engine.

    Raises
    ------
    CheckpointError
        The file is missing, no state file, damaged, of another model, or made with other dtypes of
        states; a value in it is not finite or no token of the model.
    """
    check_head(path, _GIVE)
    file = SafetensorsFile(path, _REMEDY)
    read = _checked_notes(file, fingerprint)
    if config.context is not None and read > config.context:
        raise CheckpointError(
            f"{path}: has {read} tokens: this model reads {config.context} at most; {_REMEDY}"
        )
    _check_tensors(file, read, config)
    arrays = {name: file.read(name) for name in file.entries}
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise CheckpointError(f"{path}: {name} has a value that is not finite; {_REMEDY}")
    tokens = arrays[_TOKENS]
    if len(tokens) and not 0 <= tokens.min() <= tokens.max() < config.vocab_size:
        raise CheckpointError(
            f"{path}: has tokens outside the vocabulary of {config.vocab_size}; {_REMEDY}"
        )
    messages = _messages(file)
    notes = dict(file.metadata)
    if digest_of(arrays, {k: v for k, v in notes.items() if k != DIGEST}) != notes.get(DIGEST):
        raise CheckpointError(f"{path}: damaged: not what was written there; {_REMEDY}")
    found = []
    for name, spec in zip(_names(config), config.states(), strict=True):
        array = np.array([read], np.int32) if spec.name == _POSITION else arrays[name]
        array = array.view(spec.dtype)
        array.flags.writeable = False
        found.append(array)
    state = State(tuple(found), read, fingerprint)
    return SavedState(tokens, Kept(state, arrays[_LOGITS]), messages)


def _names(config: ModelConfig) -> list[str]:
    """Return the tensors' names: two states of a model may have one name and different shapes."""
    return [f"state.{index}.{spec.name}" for index, spec in enumerate(config.states())]


def _checked_notes(file: SafetensorsFile, fingerprint: str) -> int:
    """Compare the header with what it must say; returns the number of tokens."""
    said = file.metadata
    if said.get("kind") != KIND:
        raise CheckpointError(f"{file.path}: no state of a text; make one with --save-state")
    if said.get("format") != FORMAT:
        raise CheckpointError(
            f"{file.path}: has format {shown(said.get('format'))}, this version reads {FORMAT}; "
            f"{_REMEDY}"
        )
    if said.get("fingerprint") != fingerprint:
        raise CheckpointError(
            f"{file.path}: saved with another model ({shown(said.get('fingerprint'))[1:13]}, this "
            f"one is {fingerprint[:12]}); load the one that it was saved with"
        )
    read = said.get("read", "")
    if not (read.isascii() and read.isdigit() and len(read) < 16 and int(read) > 0):
        raise CheckpointError(
            f"{file.path}: read is {shown(read)}; it should be a number of tokens; {_REMEDY}"
        )
    return int(read)


def _check_tensors(file: SafetensorsFile, read: int, config: ModelConfig) -> None:
    """Compare names, shapes and dtypes with the model's, before anything is read."""
    dtypes = {np.dtype(name).name: dtype for dtype, name in NUMPY_DTYPES.items()}

    def stored(spec: states.State) -> tuple[str, tuple[int, ...]]:
        return dtypes[_STORED.get(spec.dtype, spec.dtype)], kept_shape(spec, read)

    expected: dict[str, tuple[str, tuple[int, ...]]] = {
        _TOKENS: ("I32", (read,)),
        _LOGITS: ("F32", (config.vocab_size,)),
    }
    for name, spec in zip(_names(config), config.states(), strict=True):
        if spec.name != _POSITION:
            expected[name] = stored(spec)
    for name, (dtype, shape) in expected.items():
        entry = file.entry(name)
        if (entry.dtype, entry.shape) != (dtype, shape):
            raise CheckpointError(
                f"{file.path}: {name} is {entry.dtype} {list(entry.shape)}, of the model {dtype} "
                f"{list(shape)}: compile it with the --kv-dtype and --scan-dtype of then"
            )
    for name in file.entries:
        if name not in expected:
            raise CheckpointError(f"{file.path}: tensor {shown(name)} is no state; {_REMEDY}")


def _messages(file: SafetensorsFile) -> list[dict[str, str]]:
    text = file.metadata.get("messages", "[]")
    found = parse_value(text, f"{file.path}: messages", _REMEDY)
    if not isinstance(found, list) or not all(
        isinstance(message, dict)
        and message.keys() == {"role", "content"}
        and all(isinstance(value, str) for value in message.values())
        for message in found
    ):
        raise CheckpointError(f"{file.path}: messages have no role and content each; {_REMEDY}")
    return found
