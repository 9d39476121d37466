"""The dense export: a Hugging Face folder with the stored weights expanded, for any HF tool.

Removed weights are zeros. Quantised weights are ``q * scale``, computed exactly in float32 and
rounded once to the export's dtype (nearest, ties to even): float16 can differ from the stored model
by half a unit in the last place (a relative 2**-11), float32 not at all. A rotated model's head is
the product of its embeddings and head map, computed in float32, and no longer tied.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tvm_c4n.checkpoint.base import Checkpoint
from tvm_c4n.checkpoint.hf_writer import SHARD_BYTES, write_hf_folder
from tvm_c4n.checkpoint.safetensors_file import little_endian
from tvm_c4n.checkpoint.untied import Untied
from tvm_c4n.checkpoint.whole_tensors import WholeTensors
from tvm_c4n.errors import CheckpointError
from tvm_c4n.model.families import ARCHITECTURES, family_of

ExportDType = Literal["float16", "float32"]
_STORED = {"float16": "F16", "float32": "F32"}


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
    checkpoint = Untied(WholeTensors(checkpoint))
    write_hf_folder(
        out,
        {name: (_STORED[dtype], checkpoint.shape(name)) for name in checkpoint.names()},
        lambda name: _data(checkpoint, name, dtype),
        dense_config(checkpoint.config, dtype),
        checkpoint.extra_files(),
        shard_bytes=shard_bytes,
        overwrite=overwrite,
    )


def dense_config(config: dict[str, Any], dtype: str) -> dict[str, Any]:
    """Return the config.json of a folder whose tensors have a dtype.

    ``rescale_prenorm_residual`` is meant for fresh initialisation, but where it is true,
    transformers 5 replaces out_proj of loaded Mamba models too, so it is turned off.
    """
    result = {**config, "torch_dtype": dtype, "dtype": dtype, "rescale_prenorm_residual": False}
    result.setdefault("architectures", [ARCHITECTURES[family_of(config)]])
    return result


def _data(checkpoint: Checkpoint, name: str, dtype: ExportDType) -> Iterator[memoryview]:
    values = checkpoint.dense(name)
    with np.errstate(over="ignore"):  # what overflows is reported next
        stored = values.astype(dtype, copy=False)
    if not np.isfinite(stored).all() and np.isfinite(values).all():
        raise CheckpointError(
            f"{checkpoint.path}: tensor {name} overflows float16; export it as float32"
        )
    yield little_endian(stored)
