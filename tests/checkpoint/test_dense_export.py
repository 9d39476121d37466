"""The dense export: exact values, shards, and a program that did not come from here opens it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tvm_c4n.checkpoint import ArrayCheckpoint, C4nWriter, export_dense, open_checkpoint
from tvm_c4n.checkpoint.dense_export import dense_config
from tvm_c4n.errors import CheckpointError
from tvm_c4n.model.families import FAMILIES
from tvm_c4n.sparsity import from_dense, mask_from_scores

CONFIG = {"model_type": "mamba", "rescale_prenorm_residual": True}


def small() -> ArrayCheckpoint:
    weight = np.random.default_rng(0).standard_normal((6, 16)).astype(np.float32)
    packed = from_dense(weight, 2, "int4", mask=mask_from_scores(np.abs(weight), 2))
    return ArrayCheckpoint(CONFIG, {"a": packed, "b": np.ones(3), "c": np.zeros((2, 8))})


def test_values_are_rounded_once_and_zeros_stay(tmp_path: Path) -> None:
    source = small()
    export_dense(source, tmp_path / "half")
    export_dense(source, tmp_path / "single", dtype="float32")
    half = load_file(tmp_path / "half/model.safetensors")
    single = load_file(tmp_path / "single/model.safetensors")
    packed = source.weight("a")
    assert packed is not None
    np.testing.assert_array_equal(single["a"], packed.dense())
    np.testing.assert_array_equal(half["a"], packed.dense().astype(np.float16))
    assert half["a"].dtype == np.float16
    assert not half["a"][~packed.mask()].any()
    config = open_checkpoint(tmp_path / "half").config
    assert config["rescale_prenorm_residual"] is False
    assert (config["dtype"], config["torch_dtype"]) == ("float16", "float16")


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_architecture_is_that_of_the_family(kind: str) -> None:
    transformers = pytest.importorskip("transformers", reason="pip install transformers")
    auto = transformers.models.auto.modeling_auto
    sees = kind == "qwen3_5"  # whatever else is in its file, the config has a vision tower
    names = (
        auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
        if sees
        else auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    )
    assert dense_config({"model_type": kind}, "float16")["architectures"] == [names[kind]]
    own = dense_config({"model_type": kind, "architectures": ["Mine"]}, "float16")
    assert own["architectures"] == ["Mine"]


def test_shards_and_their_index(tmp_path: Path) -> None:
    source = small()
    export_dense(source, tmp_path / "out", shard_bytes=200)
    files = sorted(path.name for path in (tmp_path / "out").glob("*.safetensors"))
    assert files == ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    export = open_checkpoint(tmp_path / "out")
    assert export.names() == source.names()
    for name in source.names():
        np.testing.assert_array_equal(export.dense(name), source.dense(name).astype(np.float16))


def test_overflow_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    source = ArrayCheckpoint(CONFIG, {"big": np.full(3, 1e5)})
    with pytest.raises(CheckpointError, match=r"tensor big overflows float16.*float32"):
        export_dense(source, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    export_dense(source, tmp_path / "out", dtype="float32")
    with pytest.raises(CheckpointError, match="not empty"):
        export_dense(source, tmp_path / "out", dtype="float32")
    export_dense(source, tmp_path / "out", dtype="float32", overwrite=True)
    with pytest.raises(CheckpointError, match="dtype 'int8'"):
        export_dense(source, tmp_path / "out", dtype="int8")  # type: ignore[arg-type]


def test_transformers_opens_the_export_of_the_embedded_model(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="pip install transformers")
    torch = pytest.importorskip("torch", reason="pip install 'tvm-c4n[prune]'")
    source = open_checkpoint("mamba-19m")
    with C4nWriter(tmp_path / "out") as writer:
        for name in source.names():
            values = source.dense(name)
            if name.endswith("_proj.weight"):
                mask = mask_from_scores(np.abs(values), 2)
                writer.add_weight(name, from_dense(values, 2, "int8", mask=mask))
            elif name.endswith("embeddings.weight"):
                writer.add_weight(name, from_dense(values, 0, "int8"))
            else:
                writer.add_dense(name, values)
        writer.copy_extra(source)
        export_dense(writer.seal(), writer.folder / "dense", shard_bytes=20_000_000)
    checkpoint = open_checkpoint(tmp_path / "out")
    export = tmp_path / "out/dense"
    tokenizer = transformers.AutoTokenizer.from_pretrained(export)
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        export, output_loading_info=True, dtype=torch.float16
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    state = model.state_dict()
    for name in checkpoint.names():
        expected = checkpoint.dense(name).astype(np.float16)
        np.testing.assert_array_equal(state[name].numpy(), expected, err_msg=name)
    ids = tokenizer("The sea is", return_tensors="pt").input_ids
    with torch.no_grad():
        logits = model.float()(ids).logits
    assert torch.isfinite(logits).all()
