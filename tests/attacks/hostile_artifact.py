"""Artifacts that are not what they seem; each function spoils a good one.

The docstring of each function says in a sentence what the attack is. A function returns what the
errors of both runtimes must contain. The good artifact is the small model's. How many tensors it
has depends on the machine: where layers are rolled, one holds the weights of all; tensor 0 is the
embedding everywhere.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Attack = Callable[[Path], str]
ATTACKS: list[Attack] = []
MANIFEST, WEIGHTS = "manifest.json", "weights.bin"


def attack(function: Attack) -> Attack:
    ATTACKS.append(function)
    return function


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((folder / MANIFEST).read_text())
    change(content)
    (folder / MANIFEST).write_text(json.dumps(content))


def sizes(folder: Path) -> list[int]:
    """Bytes of each tensor."""
    tensors = json.loads((folder / MANIFEST).read_text())["tensors"]
    return [np.dtype(t["dtype"]).itemsize * math.prod(t["shape"]) for t in tensors]


def library(folder: Path) -> Path:
    return next(folder.glob("model-*.so"))


def put(path: Path, data: bytes) -> None:
    """Replace a file, which may be a link."""
    path.unlink()
    path.write_bytes(data)


def sparse(path: Path, size: int = 10 << 30) -> None:
    """10 GB of zeros that take no room."""
    put(path, b"")
    os.truncate(path, size)


def give(folder: Path, data: bytes) -> None:
    """Replace the library and its digest."""
    digest = hashlib.sha256(data).hexdigest()
    library(folder).unlink()
    (folder / f"model-{digest[:12]}.so").write_bytes(data)
    edit(folder, lambda m: m.update(library_sha256=digest))


@attack
def vocabulary_beyond_the_weights(folder: Path) -> str:
    """A vocabulary of 100,000 over an embedding of 96 rows: tokens would index other memory."""

    def lie(m: dict[str, Any]) -> None:
        m["config"]["vocab_size"] = m["projections"]["backbone.embeddings.weight"]["rows"] = 100000

    edit(folder, lie)
    return "vocab_size is 100000"


@attack
def vocabulary_below_the_weights(folder: Path) -> str:
    """A smaller one: the last tokens could not be read."""

    def lie(m: dict[str, Any]) -> None:
        m["config"]["vocab_size"] = m["projections"]["backbone.embeddings.weight"]["rows"] = 95

    edit(folder, lie)
    return "vocab_size is 95"


@attack
def chunk_beyond_the_plan(folder: Path) -> str:
    """Prefill's memory is planned for 256 tokens."""
    edit(folder, lambda m: m.update(chunk=100000))
    return "chunk"


@attack
def chunk_of_nothing(folder: Path) -> str:
    """A loop over chunks of 0 tokens never ends."""
    edit(folder, lambda m: m.update(chunk=0))
    return "chunk"


@attack
def chunk_true(folder: Path) -> str:
    """True is no number."""
    edit(folder, lambda m: m.update(chunk=True))
    return "chunk"


@attack
def states_of_a_terabyte(folder: Path) -> str:
    """Sizes that agree with each other, and not with the bytes that are there."""

    def lie(m: dict[str, Any]) -> None:
        m["config"].update(state_size=1024, intermediate_size=1 << 18)
        for name, projection in m["projections"].items():
            rows = {"in_proj": 1 << 19, "x_proj": 2056, "dt_proj": 1 << 18}
            for kind, count in rows.items():
                if kind in name:
                    projection["rows"] = count
            if "x_proj" in name or "out_proj" in name:
                projection["cols"] = 1 << 18
        m["states"] = [[2, 3, 1 << 18], [2, 1024, 1 << 18]]

    edit(folder, lie)
    return f"states of 2153775104 bytes do not belong to {sum(sizes(folder))} bytes of weights"


@attack
def states_that_overflow(folder: Path) -> str:
    """Extents whose product has more than 64 bits."""
    edit(folder, lambda m: m.update(states=[[2**31 - 1] * 4, [1]]))
    return "state"


@attack
def state_missing(folder: Path) -> str:
    """One state for two parameters."""
    edit(folder, lambda m: m["states"].pop())
    return ""


@attack
def tensor_missing(folder: Path) -> str:
    """One tensor fewer than the kernels take."""
    *_, gone = found = sizes(folder)

    def lie(m: dict[str, Any]) -> None:
        m["tensors"].pop()
        m["weight_bytes"] -= gone
        size = m["tensors"][-1]["offset"] + found[-2]
        put(folder / WEIGHTS, (folder / WEIGHTS).read_bytes()[:size])

    edit(folder, lie)
    return f"tensor {len(found) - 1} is missing"


@attack
def tensor_extra(folder: Path) -> str:
    """One tensor more than the kernels take."""
    count = len(sizes(folder))

    def lie(m: dict[str, Any]) -> None:
        data = (folder / WEIGHTS).read_bytes()
        data += bytes(-len(data) % 64)
        m["tensors"].append({"dtype": "int8", "shape": [64], "offset": len(data)})
        m["weight_bytes"] += 64
        put(folder / WEIGHTS, data + bytes(64))

    edit(folder, lie)
    return f"tensor {count} is one too many"


@attack
def tensor_of_another_shape(folder: Path) -> str:
    """As many bytes in another shape: a kernel would index beyond a row."""
    edit(folder, lambda m: m["tensors"][0]["shape"].reverse())
    return "weight0."


@attack
def tensor_of_another_dtype(folder: Path) -> str:
    """The same bytes under another dtype."""
    edit(folder, lambda m: m["tensors"][0].update(dtype="int8"))
    return "weight0."


@attack
def tensor_of_objects(folder: Path) -> str:
    """A dtype that is none of a file's."""
    edit(folder, lambda m: m["tensors"][0].update(dtype="object"))
    return "dtype"


@attack
def tensor_on_another(folder: Path) -> str:
    """Two tensors share bytes."""
    edit(folder, lambda m: m["tensors"][1].update(offset=0))
    return f"tensor 1 lies at byte 0 and should at {sizes(folder)[0]}"


@attack
def tensor_behind_the_end(folder: Path) -> str:
    """An offset of a terabyte."""
    last = len(sizes(folder)) - 1
    good = json.loads((folder / MANIFEST).read_text())["tensors"][last]["offset"]
    edit(folder, lambda m: m["tensors"][last].update(offset=2**40))
    return f"tensor {last} lies at byte 1099511627776 and should at {good}"


@attack
def tensor_that_overflows(folder: Path) -> str:
    """A size of more than 64 bits."""
    edit(folder, lambda m: m["tensors"][-1].update(shape=[2**31 - 1] * 3))
    return "manifest.json"


@attack
def tensor_of_a_float_size(folder: Path) -> str:
    """32.0 is a float, and no size."""
    edit(folder, lambda m: m["tensors"][1].update(shape=[32.0]))
    return "shape"


@attack
def weight_bytes_wrong(folder: Path) -> str:
    """The total is not that of the tensors."""
    edit(folder, lambda m: m.update(weight_bytes=1))
    return "weight_bytes"


@attack
def weights_with_a_tail(folder: Path) -> str:
    """Bytes after the last tensor."""
    size = (folder / WEIGHTS).stat().st_size
    put(folder / WEIGHTS, (folder / WEIGHTS).read_bytes() + b"x")
    return f"weights.bin has {size + 1} bytes, its tensors have {size}"


@attack
def weights_cut_off(folder: Path) -> str:
    """A file of which the end is missing."""
    size = (folder / WEIGHTS).stat().st_size
    put(folder / WEIGHTS, (folder / WEIGHTS).read_bytes()[:-1])
    return f"weights.bin has {size - 1} bytes, its tensors have {size}"


@attack
def weights_missing(folder: Path) -> str:
    """No weights at all."""
    (folder / WEIGHTS).unlink()
    return "weights.bin"


@attack
def weights_of_ten_gigabytes(folder: Path) -> str:
    """A sparse file, which costs nobody anything but its reader."""
    sparse(folder / WEIGHTS)
    return "weights.bin has 10737418240 bytes"


@attack
def weights_from_a_pipe(folder: Path) -> str:
    """A pipe without a writer: opening it waits for ever."""
    (folder / WEIGHTS).unlink()
    os.mkfifo(folder / WEIGHTS)
    return "weights.bin"


@attack
def weights_without_end(folder: Path) -> str:
    """A device that never ends."""
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).symlink_to("/dev/zero")
    return "not a regular file"


@attack
def library_changed(folder: Path) -> str:
    """One byte of the code is another."""
    data = bytearray(library(folder).read_bytes())
    data[len(data) // 2] ^= 1
    put(library(folder), bytes(data))
    return "is not the file that was compiled"


@attack
def library_missing(folder: Path) -> str:
    """No code at all."""
    name = library(folder).name
    library(folder).unlink()
    return name


@attack
def library_of_ten_gigabytes(folder: Path) -> str:
    """A library that takes half a minute to hash."""
    sparse(library(folder))
    return "bytes is too large"


@attack
def library_from_a_pipe(folder: Path) -> str:
    """A pipe without a writer."""
    path = library(folder)
    path.unlink()
    os.mkfifo(path)
    return "not a regular file"


@attack
def library_of_another_kind(folder: Path) -> str:
    """The digest is right and the file is no library."""
    give(folder, b"\x7fELF, but not really")
    return "cannot be loaded"


@attack
def digest_with_a_path(folder: Path) -> str:
    """A name that leads out of the folder."""
    edit(folder, lambda m: m.update(library_sha256="../../" + "0" * 58))
    return "library_sha256"


@attack
def manifest_nested(folder: Path) -> str:
    """A hundred thousand brackets end a reader that calls itself."""
    put(folder / MANIFEST, b"[" * 100_000)
    return "nested too deeply"


@attack
def manifest_nested_in_the_config(folder: Path) -> str:
    """The same, in the middle of what is well-formed."""
    text = (folder / MANIFEST).read_bytes()
    deep = b'"model_type": ' + b"[" * 100_000 + b"]" * 100_000 + b', "x": '
    put(folder / MANIFEST, text.replace(b'"model_type":', deep))
    return "nested too deeply"


@attack
def manifest_of_ten_gigabytes(folder: Path) -> str:
    """A sparse file in place of 5 kB."""
    sparse(folder / MANIFEST)
    return "10737418240 bytes is too large"


@attack
def manifest_from_a_pipe(folder: Path) -> str:
    """A pipe without a writer."""
    (folder / MANIFEST).unlink()
    os.mkfifo(folder / MANIFEST)
    return "not a regular file"


@attack
def manifest_without_end(folder: Path) -> str:
    """A device that never ends, and says that its size is 0."""
    (folder / MANIFEST).unlink()
    (folder / MANIFEST).symlink_to("/dev/zero")
    return "not a regular file"


@attack
def manifest_of_a_list(folder: Path) -> str:
    """JSON, but no object."""
    put(folder / MANIFEST, b"[1, 2]")
    return "manifest.json"


@attack
def manifest_of_nonsense(folder: Path) -> str:
    """No JSON."""
    put(folder / MANIFEST, b"\xff\x00{")
    return "manifest.json"


def _without(key: str) -> Attack:
    def missing(folder: Path) -> str:
        edit(folder, lambda m: m.pop(key))
        return key

    missing.__name__ = f"manifest_without_{key}"
    missing.__doc__ = f"The key {key} is missing."
    return missing


for _key in (
    *("format", "triple", "features", "config", "tensors", "states", "chunk"),
    *("weight_bytes", "library_sha256"),
):
    attack(_without(_key))
