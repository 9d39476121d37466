"""Write a model as a GGUF file that llama.cpp reads.

The source is any folder that `tvm_c4n.checkpoint.open_checkpoint` opens, or a bundled model:
removed weights become zeros, for llama.cpp has no sparse matrices. Tensors are written one at a
time. Matrices become float16; norms, biases, the convolution, A and D stay float32. Falcon-H1's
multipliers and the one beside norms of Qwen3.5 are folded into weights, as llama.cpp's own
converter does it. Of the tokenizer only the number of tokens is kept.
"""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from benchmarks.llama_cpp.hparams import ARCHITECTURES, add_sizes, factor_of
from tvm_c4n.checkpoint import Checkpoint, open_checkpoint
from tvm_c4n.checkpoint.files import atomic_output
from tvm_c4n.checkpoint.whole_tensors import WholeTensors
from tvm_c4n.errors import CheckpointError
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.rows import rows_of

# Words of Hugging Face's names that gguf's table lacks, and those that it has.
_RENAMED = {".dt_bias": ".dt_proj.bias", "shared_mlp.output_linear": "mlp.down_proj"}
# Norms of Qwen3.5 whose weights are what they have beyond one.
_FROM_ONE = ("layernorm.weight", "q_norm.weight", "k_norm.weight", "model.norm.weight")


def write_gguf(model: str | Path, out: Path) -> Path:
    """Write a GGUF file; it appears whole or not at all.

    Parameters
    ----------
    model : str or Path
        Model folder, or the name of a bundled model.
    out : Path

    Raises
    ------
    CheckpointError
        The model is damaged, or of a shape that llama.cpp does not take.
    """
    checkpoint = open_checkpoint(model)
    config = describe_model(checkpoint.config)
    sizes = config.sizes
    if config.model_type not in ARCHITECTURES or "experts" in sizes:
        raise CheckpointError(f"{model}: {config.model_type} is not converted for llama.cpp")
    inner = sizes.get("inner") or sizes.get("heads", 0) * sizes.get("head_dim", 0)
    ruled = config.model_type in ("mamba", "mamba2", "granitemoehybrid")
    if ruled and inner != 2 * config.d_model:
        raise CheckpointError(f"{model}: llama.cpp takes only an inner size of twice the hidden")
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_output(out) as temporary:
        writer = gguf.GGUFWriter(temporary, gguf.MODEL_ARCH_NAMES[ARCHITECTURES[config.model_type]])
        _write(writer, out.stem, checkpoint, config)
    return out


def _write(writer: Any, name: str, checkpoint: Checkpoint, config: ModelConfig) -> None:
    writer.add_name(name)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    add_sizes(writer, config, checkpoint.config)
    _add_vocabulary(writer, config.vocab_size)
    matrices = {_whole(name) for name in config.weights()}
    whole, written = WholeTensors(checkpoint), []
    for theirs, ours in names_of(config).items():
        source: Any = checkpoint if rows_of(ours) else whole
        type_ = np.dtype(np.float16 if ours in matrices else np.float32)
        shape = _shape(theirs, source.shape(ours), config.sizes.get("groups"))
        writer.add_tensor_info(theirs, shape, type_, prod(shape) * type_.itemsize)
        written.append((source, ours, type_, shape))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for source, ours, type_, shape in written:
        array, factor = source.dense(ours), factor_of(ours, checkpoint.config)
        array = -np.exp(array) if ours.endswith("A_log") else array * factor
        if config.model_type == "qwen3_5_text" and ours.endswith(_FROM_ONE):
            array = array + 1
        writer.write_tensor_data(np.ascontiguousarray(array.reshape(shape), type_))
    writer.close()


def names_of(config: ModelConfig) -> dict[str, str]:
    """Return GGUF's tensor names in file order, each with Hugging Face's, or that of its rows."""
    table = gguf.get_tensor_name_map(ARCHITECTURES[config.model_type], config.n_layer)
    names = {}
    for ours in dict.fromkeys(map(_whole, config.tensor_shapes())):
        plain = ours
        if rows := rows_of(ours):
            half = "up" if rows.start else "gate"
            plain = rows.source.replace("shared_mlp.input_linear", f"mlp.{half}_proj")
        for word, other in _RENAMED.items():
            plain = plain.replace(word, other)
        names[table.get_name(plain, try_suffixes=(".weight", ".bias"))] = ours
    return names


def _whole(name: str) -> str:
    """Return the tensor that GGUF keeps of rows: the whole one, but for Granite's gate and up."""
    rows = rows_of(name)
    return rows.source if rows and "shared_mlp" not in name else name


def _shape(theirs: str, shape: tuple[int, ...], groups: int | None) -> tuple[int, ...]:
    """Drop the convolution's axis of one channel; Mamba-2, which has `groups`, adds axes of one."""
    if groups and theirs.endswith(("ssm_a", "ssm_d")):
        return (*shape, 1)
    if groups and theirs.endswith("ssm_norm.weight"):
        return (groups, shape[0] // groups)
    return (shape[0], shape[-1]) if len(shape) == 3 else shape


def _add_vocabulary(writer: gguf.GGUFWriter, size: int) -> None:
    """Add the 256 bytes under GPT-2's names, with one merge: llama-bench reads no text."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = iter(range(256, 512))
    tokens = [chr(byte if byte in plain else next(spare)) for byte in range(256)] + ["ab"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens + [f"[PAD{index}]" for index in range(len(tokens), size)])
    unused = [gguf.TokenType.UNUSED] * (size - len(tokens))
    writer.add_token_types([gguf.TokenType.NORMAL] * len(tokens) + unused)
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(False)
