"""Writing a Hugging Face folder: config.json, safetensors in shards, files that belong to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import prod
from pathlib import Path
from typing import Any

from tvm_c4n.checkpoint.base import CONFIG
from tvm_c4n.checkpoint.files import copy_file, write_json
from tvm_c4n.checkpoint.hf import INDEX, SINGLE
from tvm_c4n.checkpoint.safetensors_file import DTYPE_BYTES, write_safetensors
from tvm_c4n.checkpoint.transaction import FolderTransaction

SHARD_BYTES = 5_000_000_000
# transformers before 5 refuses files that do not say so.
_METADATA = {"format": "pt"}

Tensors = Mapping[str, tuple[str, tuple[int, ...]]]


def write_hf_folder(
    out: str | Path,
    tensors: Tensors,
    data: Callable[[str], Iterable[bytes | memoryview]],
    config: dict[str, Any],
    extra: Iterable[Path],
    *,
    shard_bytes: int = SHARD_BYTES,
    overwrite: bool = False,
) -> None:
    """Write a folder tensor by tensor; it appears whole or not at all.

    Parameters
    ----------
    out : path
    tensors : mapping of name to (dtype, shape)
        dtypes are those of safetensors: ``"F16"``.
    data : callable
        Gives the bytes of one tensor, in pieces.
    config : dict
        The content of config.json.
    extra : iterable of Path
        Files to copy along.
    shard_bytes : int
        Largest size of one file's tensors; a larger model is split, a larger tensor is not.
    overwrite : bool
        Replace an existing Hugging Face folder.

    Raises
    ------
    CheckpointError
        ``out`` is not empty, a disk error, or what `data` raises.
    """
    with FolderTransaction(Path(out), overwrite, _is_hf_folder) as transaction:
        folder = transaction.folder
        shards = _assign(tensors, shard_bytes)
        files = _file_names(len(shards))
        for file, names in zip(files, shards, strict=True):
            own = {name: tensors[name] for name in names}
            write_safetensors(folder / file, own, data, _METADATA)
        if len(files) > 1:
            write_json(folder / INDEX, _index(tensors, files, shards))
        write_json(folder / CONFIG, config)
        for path in extra:
            copy_file(path, folder / path.name)


def _is_hf_folder(folder: Path) -> bool:
    has_weights = (folder / SINGLE).is_file() or (folder / INDEX).is_file()
    return has_weights and (folder / CONFIG).is_file()


def _size_bytes(tensors: Tensors, name: str) -> int:
    dtype, shape = tensors[name]
    return prod(shape) * DTYPE_BYTES[dtype]


def _assign(tensors: Tensors, shard_bytes: int) -> list[list[str]]:
    """Split the names, in order, into shards of at most ``shard_bytes``."""
    shards: list[list[str]] = [[]]
    used = 0
    for name in sorted(tensors):
        size = _size_bytes(tensors, name)
        if shards[-1] and used + size > shard_bytes:
            shards.append([])
            used = 0
        shards[-1].append(name)
        used += size
    return shards


def _file_names(count: int) -> list[str]:
    if count == 1:
        return [SINGLE]
    return [f"model-{i:05d}-of-{count:05d}.safetensors" for i in range(1, count + 1)]


def _index(tensors: Tensors, files: list[str], shards: list[list[str]]) -> dict[str, Any]:
    total = sum(_size_bytes(tensors, name) for names in shards for name in names)
    pairs = zip(files, shards, strict=True)
    weight_map = {name: file for file, names in pairs for name in names}
    return {"metadata": {"total_size": total}, "weight_map": weight_map}
