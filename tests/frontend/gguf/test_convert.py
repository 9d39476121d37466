"""A GGUF file has the logits of the model that it was written from; the rest is one line."""

import subprocess
import sys

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type
from gguf.quants import dequantize, quantize
from transformers import (
    FalconH1Config,
    FalconMambaConfig,
    GraniteMoeHybridConfig,
    Lfm2Config,
    Mamba2Config,
    MambaConfig,
)

from tests.families import write_family
from tests.frontend.gguf.made import write_gguf
from tests.model.families import test_falcon_h1 as falcon_h1
from tests.model.families import test_falcon_mamba as falcon_mamba
from tests.model.families import test_granitemoehybrid as granite
from tests.model.families import test_lfm2 as lfm2
from tests.model.families import test_mamba as mamba
from tests.model.families import test_mamba2 as mamba2
from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.errors import CheckpointError
from tvm_c4n.frontend.gguf import convert_gguf
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.reference import Reference

TEXT = np.random.default_rng(1).integers(0, 96, 20)
MODELS = {
    "mamba, biases, untied": MambaConfig(**mamba.SIZES, use_bias=True, tie_word_embeddings=False),
    "mamba, no convolution bias": MambaConfig(**mamba.SIZES, use_conv_bias=False),
    "falcon_mamba": FalconMambaConfig(**falcon_mamba.SIZES),
    "mamba2, two groups": Mamba2Config(**mamba2.SIZES, n_groups=2),
    "mamba2, tied": Mamba2Config(
        **mamba2.SIZES, n_groups=1, use_bias=True, tie_word_embeddings=True
    ),
    "granite": GraniteMoeHybridConfig(
        **granite.SIZES, **granite.SCALARS, layer_types=granite.MIXED, tie_word_embeddings=True
    ),
    "falcon_h1, multipliers": FalconH1Config(**falcon_h1.SIZES, **falcon_h1.MULTIPLIERS),
    "falcon_h1, norm, two groups": FalconH1Config(
        **falcon_h1.SIZES, mamba_rms_norm=True, mamba_norm_before_gate=False, mamba_n_groups=2
    ),
    "lfm2": Lfm2Config(**lfm2.SIZES, layer_types=lfm2.MIXED),
    "lfm2, biases, untied": Lfm2Config(
        **lfm2.SIZES, layer_types=lfm2.MIXED, conv_bias=True, tie_word_embeddings=False
    ),
}


# The quick suite has one of each family.
REST = (
    "mamba, no convolution bias",
    "mamba2, tied",
    "falcon_h1, norm, two groups",
    "lfm2, biases, untied",
)
CASES = [pytest.param(n, marks=pytest.mark.slow if n in REST else ()) for n in MODELS]


def logits(folder):
    checkpoint = open_checkpoint(folder)
    return np.array(Reference(describe_model(checkpoint.config), checkpoint.dense).prefill(TEXT))


@pytest.fixture(scope="module", params=CASES)
def model(request, tmp_path_factory):
    """A folder of transformers, and its logits."""
    folder = tmp_path_factory.mktemp("gguf") / "model"
    write_family(folder, MODELS[request.param])
    return folder, logits(folder)


def test_logits_are_those_of_the_source(model, tmp_path):
    folder, expected = model
    convert_gguf(write_gguf(folder, tmp_path / "m.gguf"), tmp_path / "out")
    np.testing.assert_allclose(logits(tmp_path / "out"), expected, atol=1e-4, rtol=0)
    source, found = open_checkpoint(folder), open_checkpoint(tmp_path / "out")
    assert found.names() == source.names()
    if source.config["model_type"] == "falcon_h1":
        return  # its multipliers lie in the weights
    for name in source.names():
        # A is stored, and its logarithm is rounded once more.
        most = 1e-6 if name.endswith("A_log") else 0
        np.testing.assert_allclose(found.dense(name), source.dense(name), rtol=most, atol=most)


@pytest.mark.parametrize("kind", [Type.F16, Type.BF16, Type.Q8_0], ids=lambda kind: kind.name)
def test_stored_types_are_read_exactly(kind, small_model, tmp_path):
    convert_gguf(write_gguf(small_model, tmp_path / "m.gguf", kind), tmp_path / "out")
    source, found = open_checkpoint(small_model), open_checkpoint(tmp_path / "out")
    for name in ("backbone.embeddings.weight", "backbone.layers.1.mixer.in_proj.weight"):
        expected = dequantize(quantize(source.dense(name), kind), kind)
        np.testing.assert_array_equal(found.dense(name), expected)
        assert found.dtype(name) == {"Q8_0": "F32"}.get(kind.name, kind.name)


def test_the_folder_is_one_that_others_read(small_model, tmp_path, words):
    """Here and in transformers: the same model, whatever its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM

    found = convert_gguf(write_gguf(small_model, tmp_path / "m.gguf"), tmp_path / "out")
    assert found.copied == () and "'tokenizer.ggml.model'" not in found.tokenizer
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32).eval()
    with torch.no_grad():
        expected = theirs(torch.from_numpy(TEXT)[None], use_cache=False).logits[0].numpy()
    np.testing.assert_allclose(logits(tmp_path / "out"), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mamba.block_count": 3}, r"m.gguf: tensor backbone.layers.2.* is missing"),
        ({"mamba.ssm.state_size": 5}, r"m.gguf: tensor .*A_log has shape \[64, 4\]"),
        ({"mamba.block_count": 1}, r"'backbone.layers.1.*' is in no model of its config"),
        ({"mamba.ssm.inner_size": "64"}, r"mamba.ssm.inner_size is '64'; it should count"),
        ({"general.architecture": "llama"}, r"architecture 'llama', supported: mamba, mamba2"),
    ],
)
def test_keys_that_do_not_fit_are_refused(change, message, small_model, tmp_path, monkeypatch):
    from tvm_c4n.frontend.gguf import file

    read = file.GgufFile._read

    def changed(self):
        read(self)
        self.values.update(change)

    monkeypatch.setattr(file.GgufFile, "_read", changed)
    write_gguf(small_model, tmp_path / "m.gguf")
    with pytest.raises(CheckpointError, match=message):
        convert_gguf(tmp_path / "m.gguf", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_line(small_model, tmp_path, call):
    write_gguf(small_model, tmp_path / "m.gguf", Type.Q8_0)
    done = call("convert", tmp_path / "m.gguf", "-o", tmp_path / "out")
    assert done.code == 0, done.err
    assert "model:         mamba, 2 layers, hidden 32, vocabulary 96" in done.out
    assert "missing:       tokenizer.json; put that of the model's repository (" in done.out


@pytest.mark.parametrize("verb", ["prune", "run", "inspect", "compile", "serve"])
def test_other_verbs_say_what_to_do(verb, small_model, tmp_path, call, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_gguf(small_model, tmp_path / "my model.gguf")
    out = ["-o", "out"] if verb in ("prune", "compile") else []
    done = call(verb, "my model.gguf", *out, *(["-p", "a"] if verb == "run" else []))
    assert done.err == (
        "error: my model.gguf: a GGUF file of llama.cpp; convert it with `tvm-c4n convert "
        "'my model.gguf' -o 'my model-hf'`, then give my model-hf\n"
    )
    assert done.code == 2


def test_without_the_package_it_is_one_line(tmp_path):
    program = (
        "import sys; sys.modules['gguf'] = None; sys.argv = ['tvm-c4n', 'convert', 'm.gguf', '-o',"
        " 'out']; from tvm_c4n.cli.app import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    line = "error: reading m.gguf needs gguf: pip install 'tvm-c4n[gguf]'\n"
    assert (done.stderr, done.returncode) == (line, 2)


def test_experts_are_refused(tmp_path):
    write_family(tmp_path / "model", MODELS["granite"])
    more = {"granitehybrid.expert_count": 64}
    write_gguf(tmp_path / "model", tmp_path / "m.gguf", more=more)
    message = "m.gguf: has 64 experts: of Granite 4.0-H only dense models are converted"
    with pytest.raises(CheckpointError, match=message):
        convert_gguf(tmp_path / "m.gguf", tmp_path / "out")
