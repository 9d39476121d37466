"""The dense export: a Hugging Face folder with the stored weights expanded, for any HF tool.

Removed weights are zeros. Quantised weights are ``q * scale``, computed exactly in float32 and
rounded once to the export's dtype (nearest, ties to even): float16 can differ from the stored model
by half a unit in the last place (a relative 2**-11), float32 not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tvm_c4n.checkpoint.base import CONFIG, Checkpoint
from tvm_c4n.checkpoint.files import copy_file, write_json
from tvm_c4n.checkpoint.hf import INDEX, SINGLE
from tvm_c4n.checkpoint.safetensors_file import little_endian, write_safetensors
from tvm_c4n.checkpoint.transaction import FolderTransaction
from tvm_c4n.checkpoint.whole_tensors import WholeTensors
from tvm_c4n.errors import CheckpointError

ExportDType = Literal["float16", "float32"]
SHARD_BYTES = 5_000_000_000
_STORED = {"float16": "F16", "float32": "F32"}
# transformers before 5 refuses files that do not say so.
_METADATA = {"format": "pt"}


def export_dense(
    checkpoint: Checkpoint,
    out: str | Path,
    *,
    dtype: ExportDType = "float16",
    shard_bytes: int = SHARD_BYTES,
    overwrite: bool = False,
) -> None:
    """Write a checkpoint as a dense Hugging Face folder.

    Parameters
    ----------
    checkpoint : Checkpoint
        From `open_checkpoint`, `C4nWriter.seal`, or an `ArrayCheckpoint`.
    out : path
        Appears whole or not at all.
    dtype : {"float16", "float32"}
        dtype of every tensor.
    shard_bytes : int
        Largest size of one file's tensors; a larger model is split, a larger tensor is not.
    overwrite : bool
        Replace an existing Hugging Face folder.

    Raises
    ------
    CheckpointError
        ``out`` is not empty, disk full, or a value that overflows float16.
    """
    if dtype not in _STORED:
        raise CheckpointError(f"{out}: dtype {dtype!r} is not one of {', '.join(_STORED)}")
    with FolderTransaction(Path(out), overwrite, _is_hf_folder) as transaction:
        folder = transaction.folder
        checkpoint = WholeTensors(checkpoint)
        shards = _assign(checkpoint, np.dtype(dtype).itemsize, shard_bytes)
        files = _file_names(len(shards))
        for file, names in zip(files, shards, strict=True):
            tensors = {name: (_STORED[dtype], checkpoint.shape(name)) for name in names}
            write_safetensors(
                folder / file, tensors, lambda name: _data(checkpoint, name, dtype), _METADATA
            )
        if len(files) > 1:
            write_json(folder / INDEX, _index(checkpoint, files, shards, np.dtype(dtype).itemsize))
        write_json(folder / CONFIG, dense_config(checkpoint.config, dtype))
        for path in checkpoint.extra_files():
            copy_file(path, folder / path.name)


def dense_config(config: dict[str, Any], dtype: ExportDType) -> dict[str, Any]:
    """Return the config.json of a dense export.

    ``rescale_prenorm_residual`` is meant for fresh initialisation, but where it is true,
    transformers 5 replaces out_proj of loaded Mamba models too, so it is turned off.
    """
    result = {**config, "torch_dtype": dtype, "dtype": dtype, "rescale_prenorm_residual": False}
    result.setdefault("architectures", ["MambaForCausalLM"])
    return result


def _is_hf_folder(folder: Path) -> bool:
    has_weights = (folder / SINGLE).is_file() or (folder / INDEX).is_file()
    return has_weights and (folder / CONFIG).is_file()


def _assign(checkpoint: Checkpoint, item_bytes: int, shard_bytes: int) -> list[list[str]]:
    """Split the names, in order, into shards of at most ``shard_bytes``."""
    shards: list[list[str]] = [[]]
    used = 0
    for name in checkpoint.names():
        size = prod(checkpoint.shape(name)) * item_bytes
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


def _index(
    checkpoint: Checkpoint, files: list[str], shards: list[list[str]], item_bytes: int
) -> dict[str, Any]:
    sizes = (prod(checkpoint.shape(name)) * item_bytes for names in shards for name in names)
    pairs = zip(files, shards, strict=True)
    weight_map = {name: file for file, names in pairs for name in names}
    return {"metadata": {"total_size": sum(sizes)}, "weight_map": weight_map}


def _data(checkpoint: Checkpoint, name: str, dtype: ExportDType) -> Iterator[memoryview]:
    values = checkpoint.dense(name)
    with np.errstate(over="ignore"):  # what overflows is reported next
        stored = values.astype(dtype, copy=False)
    if not np.isfinite(stored).all() and np.isfinite(values).all():
        raise CheckpointError(
            f"{checkpoint.path}: tensor {name} overflows float16; export it as float32"
        )
    yield little_endian(stored)
