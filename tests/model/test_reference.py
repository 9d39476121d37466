"""The oracle agrees with transformers, and with itself however a text is cut."""

import numpy as np
import pytest

from tvm_c4n.assets import ROOT
from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.errors import C4nError
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.reference import Reference
from tvm_c4n.model.reference.formulas import rms_norm, silu, softplus


@pytest.fixture(scope="module")
def embedded():
    checkpoint = open_checkpoint("mamba-19m")
    return checkpoint, describe_model(checkpoint.config)


def test_equals_transformers_on_the_embedded_model(embedded):
    torch = pytest.importorskip("torch", reason="pip install 'tvm-c4n[prune]'")
    transformers = pytest.importorskip("transformers", reason="pip install transformers")
    checkpoint, config = embedded
    ids = np.random.default_rng(0).integers(0, config.vocab_size, 40)
    model = transformers.MambaForCausalLM.from_pretrained(
        ROOT / "mamba-19m", dtype=torch.float64, local_files_only=True
    ).eval()
    with torch.no_grad():
        expected = model(torch.from_numpy(ids)[None], use_cache=False).logits[0].numpy()
    assert np.abs(expected).max() > 5
    # transformers keeps a few tensors in float32, whatever dtype is asked for.
    np.testing.assert_allclose(
        Reference(config, checkpoint.dense).prefill(ids), expected, atol=1e-4
    )
    single = Reference(config, checkpoint.dense, np.float32).prefill(ids)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, atol=1e-3)


def test_state_carries_the_text(tiny):
    config, tensors = tiny
    model = Reference(config, tensors.__getitem__)
    ids = np.random.default_rng(1).integers(0, config.vocab_size, 11)
    whole = model.prefill(ids)
    model.reset()
    parts = [model.prefill(ids[:1]), model.prefill(ids[1:6])]
    parts += [model.step(int(token))[None] for token in ids[6:]]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-12, atol=1e-12)


def test_a_copied_state_returns_to_its_place(tiny):
    config, tensors = tiny
    model = Reference(config, tensors.__getitem__)
    model.prefill([3, 1, 4])
    here = model.copied_states()
    first = model.step(9)
    assert np.abs(model.step(9) - first).max() > 1e-6  # the state did move on
    model.states = here
    np.testing.assert_array_equal(model.step(9), first)


def test_formulas_at_the_ends_of_the_range():
    x = np.array([-1000.0, -1.0, 0.0, 1.0, 1000.0])
    np.testing.assert_allclose(softplus(x), [0, np.log1p(np.exp(-1)), np.log(2), 1.3132616875, 1e3])
    np.testing.assert_allclose(silu(x), [0, -0.2689414214, 0, 0.7310585786, 1000])
    np.testing.assert_allclose(rms_norm(np.array([3.0, 4.0]), 0.5), [3, 4] / np.sqrt(13))


@pytest.mark.parametrize("ids", [[], [[1, 2]], [50], [-1]])
def test_bad_tokens_are_refused(tiny, ids):
    config, tensors = tiny
    with pytest.raises(C4nError):
        Reference(config, tensors.__getitem__).prefill(ids)
