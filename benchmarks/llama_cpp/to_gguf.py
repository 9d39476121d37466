"""Write a model as a GGUF file that llama.cpp reads (architecture ``mamba``).

The source is any folder that `tvm_c4n.checkpoint.open_checkpoint` opens, or a bundled model:
removed weights become zeros, for llama.cpp has no sparse matrices. Tensors are written one at a
time. Matrices get `dtype`; norms, biases, the convolution, A and D stay float32, as llama.cpp's own
converter leaves them.
"""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from tvm_c4n.checkpoint import Checkpoint, open_checkpoint
from tvm_c4n.checkpoint.files import atomic_output
from tvm_c4n.errors import CheckpointError
from tvm_c4n.model.description import ModelConfig
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.tokenizer import load_tokenizer

DTYPES = {"F16": np.float16, "F32": np.float32}
_IN_BLOCK = {  # ours inside a layer: GGUF's inside a block
    "norm.weight": "attn_norm.weight",
    "mixer.in_proj.weight": "ssm_in.weight",
    "mixer.conv1d.weight": "ssm_conv1d.weight",
    "mixer.conv1d.bias": "ssm_conv1d.bias",
    "mixer.x_proj.weight": "ssm_x.weight",
    "mixer.dt_proj.weight": "ssm_dt.weight",
    "mixer.dt_proj.bias": "ssm_dt.bias",
    "mixer.A_log": "ssm_a",
    "mixer.D": "ssm_d",
    "mixer.out_proj.weight": "ssm_out.weight",
}
_MATRICES = ("embd.weight", "output.weight", "in.weight", "x.weight", "dt.weight", "out.weight")


def write_gguf(model: str | Path, out: Path, dtype: str = "F16") -> Path:
    """Write a GGUF file; it appears whole or not at all.

    Parameters
    ----------
    model : str or Path
        Model folder, or the name of a bundled model.
    out : Path
    dtype : str
        ``"F16"`` or ``"F32"``.

    Raises
    ------
    CheckpointError
        The model is damaged, or of a shape that llama.cpp does not take.
    """
    checkpoint = open_checkpoint(model)
    config = describe_model(checkpoint.config)
    if config.sizes["inner"] != 2 * config.d_model:
        raise CheckpointError(f"{model}: llama.cpp takes only an inner size of twice the hidden")
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_output(out) as temporary:
        _write(gguf.GGUFWriter(temporary, "mamba"), out.stem, dtype, checkpoint, config)
    return out


def _write(writer: Any, name: str, dtype: str, checkpoint: Checkpoint, config: ModelConfig) -> None:
    _add_sizes(writer, config, name, dtype)
    _add_vocabulary(writer, config.vocab_size, checkpoint)
    names = names_of(config)
    types = {
        name: np.dtype(DTYPES[dtype] if name.endswith(_MATRICES) else np.float32) for name in names
    }
    for name, ours in names.items():
        shape = _flat(checkpoint.shape(ours))
        writer.add_tensor_info(name, shape, types[name], prod(shape) * types[name].itemsize)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, ours in names.items():
        writer.write_tensor_data(_tensor(checkpoint, name, ours).astype(types[name]))
    writer.close()


def names_of(config: ModelConfig) -> dict[str, str]:
    """Return GGUF's tensor names in file order, each with ours."""
    names = {"token_embd.weight": config.embeddings, "output_norm.weight": config.final_norm.weight}
    if not config.tie_embeddings:
        names["output.weight"] = config.head
    for layer in range(config.n_layer):
        for ours, theirs in _IN_BLOCK.items():
            names[f"blk.{layer}.{theirs}"] = f"backbone.layers.{layer}.{ours}"
    return names


def _flat(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Drop the convolution's axis of one channel, which GGUF does not have."""
    return (shape[0], shape[-1]) if len(shape) == 3 else shape


def _tensor(checkpoint: Checkpoint, name: str, ours: str) -> NDArray[Any]:
    array = checkpoint.dense(ours)
    if name.endswith("ssm_a"):
        return -np.exp(array)
    return np.ascontiguousarray(array.reshape(_flat(array.shape)))


def _add_sizes(writer: gguf.GGUFWriter, config: ModelConfig, name: str, dtype: str) -> None:
    writer.add_name(name)
    writer.add_context_length(2**20)  # Mamba has no limit; llama.cpp's converter writes this
    writer.add_embedding_length(config.d_model)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_block_count(config.n_layer)
    writer.add_ssm_conv_kernel(config.sizes["conv"])
    writer.add_ssm_inner_size(config.sizes["inner"])
    writer.add_ssm_state_size(config.sizes["state"])
    writer.add_ssm_time_step_rank(config.sizes["dt_rank"])
    writer.add_layer_norm_rms_eps(config.final_norm.eps)
    writer.add_ssm_dt_b_c_rms(False)
    kinds = {"F16": gguf.LlamaFileType.MOSTLY_F16, "F32": gguf.LlamaFileType.ALL_F32}
    writer.add_file_type(kinds[dtype])


def _add_vocabulary(writer: gguf.GGUFWriter, size: int, checkpoint: Checkpoint) -> None:
    """Add the byte-level BPE of the checkpoint, or one that stands for no language."""
    file = next((f for f in checkpoint.extra_files() if f.name == "tokenizer.json"), None)
    tokens, merges, special = _bytes_only() if file is None else _read_tokenizer(file)
    if len(tokens) > size:
        raise CheckpointError(f"{file}: the tokenizer has {len(tokens)} tokens, the model {size}")
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    kinds = [control if token in special else normal for token in tokens]
    kinds += [gguf.TokenType.UNUSED] * (size - len(tokens))
    tokens += [f"[PAD{index}]" for index in range(len(tokens), size)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    text = None if file is None else load_tokenizer(file.parent, checkpoint.config)
    writer.add_bos_token_id(text.start if text else 0)
    writer.add_eos_token_id(text.separator if text else 0)
    writer.add_add_bos_token(False)


def _bytes_only() -> tuple[list[str], list[str], set[str]]:
    """Return a vocabulary of the 256 bytes under GPT-2's names for them, with one merge."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = iter(range(256, 512))
    tokens = [chr(byte if byte in plain else next(spare)) for byte in range(256)]
    return [*tokens, "ab"], ["a b"], set()


def _read_tokenizer(file: Path) -> tuple[list[str], list[str], set[str]]:
    raw = json.loads(file.read_text(encoding="utf-8"))
    by_id = {index: token for token, index in raw["model"]["vocab"].items()}
    by_id |= {entry["id"]: entry["content"] for entry in raw.get("added_tokens", [])}
    special = {entry["content"] for entry in raw.get("added_tokens", []) if entry.get("special")}
    tokens = [by_id.get(index, f"[PAD{index}]") for index in range(max(by_id) + 1)]
    merges = [m if isinstance(m, str) else " ".join(m) for m in raw["model"]["merges"]]
    return tokens, merges, special
