"""What `summarize` says about folders, against what was put into them."""

import numpy as np
import pytest

from tests.models import write_model, write_tokenizer
from tvm_c4n.checkpoint import C4nWriter, export_dense
from tvm_c4n.checkpoint.base import ArrayCheckpoint
from tvm_c4n.errors import C4nError
from tvm_c4n.inspect.summary import summarize
from tvm_c4n.model.families import describe_model
from tvm_c4n.sparsity import from_dense, mask_from_scores

HF = {
    "model_type": "mamba",
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "state_size": 4,
    "conv_kernel": 4,
    "time_step_rank": 4,
}
CONFIG = describe_model(HF)


@pytest.fixture
def tensors():
    rng = np.random.default_rng(0)
    return {
        name: rng.standard_normal(shape).astype(np.float16)
        for name, shape in CONFIG.tensor_shapes().items()
    }


@pytest.fixture
def c4n(tensors, tmp_path):
    """in_proj n=2 int8, but n=3 in layer 1; everything else dense float16."""
    with C4nWriter(tmp_path / "c4n") as writer:
        for name, array in tensors.items():
            if not name.endswith("_proj.weight"):
                writer.add_dense(name, array)
                continue
            removed = 0
            if "in_proj" in name:
                removed = 3 if "layers.1." in name else 2
            mask = mask_from_scores(np.abs(array), removed)
            dtype = "int8" if removed else "float16"
            weight = from_dense(np.where(mask, array, 0), removed, dtype, mask=mask)
            writer.add_weight(name, weight)
        writer.copy_extra(ArrayCheckpoint(HF, tensors))
        write_tokenizer(writer.folder)
    return tmp_path / "c4n"


def test_a_c4n_folder_declares_its_patterns(c4n):
    found = summarize(c4n)
    assert found.kind == "C4n folder"
    lines = {line.kind: line for line in found.weights}
    assert list(lines) == ["embeddings", "in_proj", "x_proj", "dt_proj", "out_proj"]
    in_proj = lines["in_proj"]
    assert in_proj.removed == {2: 2, 3: 1}
    assert (in_proj.dtypes, in_proj.scale_groups, in_proj.count) == ({"int8"}, {64}, 3)
    # 64 rows of 16 columns, a scale each. n=2: 8 values, 4 groups of 4 bits; n=3: 4 and 2 bits.
    assert in_proj.size_bytes == 2 * 64 * (8 + 2 + 2) + 64 * (4 + 1 + 2)
    assert lines["out_proj"].removed == {0: 3}
    assert lines["embeddings"].size_bytes == 40 * 16 * 4  # as read, if not packed


def test_the_twins_pattern_shows_in_its_zeros(c4n, tmp_path):
    from tvm_c4n.checkpoint import open_checkpoint

    export_dense(open_checkpoint(c4n), tmp_path / "twin")
    seen = []
    found = summarize(tmp_path / "twin", progress=lambda *call: seen.append(call))
    assert found.kind == "Hugging Face folder"
    lines = {line.kind: line for line in found.weights}
    assert lines["in_proj"].removed == {2: 2, 3: 1}
    assert lines["in_proj"].size_bytes == 3 * 64 * 16 * 2  # zeros are stored there
    assert lines["in_proj"].dtypes == {"float16"}
    assert seen[-1][1:] == (13, 13)


def test_the_default_model_is_dense():
    found = summarize("mamba-19m")
    assert {n for line in found.weights for n in line.removed} == {0}
    assert found.config.n_layer == 16


def test_a_model_that_lacks_a_tensor_is_refused(tensors, tmp_path):
    del tensors["backbone.embeddings.weight"]
    with pytest.raises(C4nError, match="embeddings"):
        summarize(write_model(tmp_path, HF, tensors))


def test_a_model_that_could_not_be_run_for_lack_of_a_tokenizer_is_refused(tensors, tmp_path):
    with pytest.raises(C4nError, match=r"tokenizer\.json: missing file; copy"):
        summarize(write_model(tmp_path, HF, tensors))
