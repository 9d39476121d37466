"""transformers' Mamba through torch.export, our pipeline, and back to transformers' logits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, MambaConfig, MambaForCausalLM

from tests.zoo.case import prune_torch
from tvm_c4n._tvm import relax, tvm
from tvm_c4n.assets import resolve
from tvm_c4n.compile.build import build
from tvm_c4n.errors import C4nError
from tvm_c4n.frontend.mamba import export_causal_lm, scan, scan_as_operator


def small() -> MambaForCausalLM:
    torch.manual_seed(0)
    config = MambaConfig(
        vocab_size=96,
        hidden_size=32,
        num_hidden_layers=2,
        state_size=8,
        time_step_rank=8,
        rescale_prenorm_residual=False,
    )
    return MambaForCausalLM(config).eval()


def logits(model: Any, ids: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model(torch.from_numpy(ids), use_cache=False).logits.numpy()


def compiled(model: Any, ids: np.ndarray, dump: Path) -> list[np.ndarray]:
    """Two calls: the second would show a state that was kept."""
    executable = build(export_causal_lm(model, ids.shape[1]), debug_dump=dump)
    main = relax.VirtualMachine(executable, tvm.cpu())["main"]
    return [main(tvm.runtime.tensor(ids)).numpy() for _ in range(2)]


def test_logits_are_transformers_and_no_copy_is_left(tmp_path: Path) -> None:
    model, ids = small(), np.random.default_rng(0).integers(0, 96, (1, 12))
    prune_torch(model, 2)
    expected = logits(model, ids)
    for found in compiled(model, ids, tmp_path):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    report = json.loads((tmp_path / "layout.json").read_text())
    # Convolution and projections meet here: at most half of what TVM's pipeline would leave.
    assert report["is"]["kernels"] <= report["was"]["kernels"] / 2
    script = (tmp_path / "4_bind.py").read_text()
    assert "selective_scan" in script
    assert "c4n_gemm" in script


@pytest.mark.slow
def test_the_default_models_logits_are_transformers(tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(resolve("mamba-19m")).float().eval()
    ids = np.random.default_rng(0).integers(0, model.config.vocab_size, (1, 64))
    expected = logits(model, ids)
    for found in compiled(model, ids, tmp_path):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    assert json.loads((tmp_path / "layout.json").read_text())["is"]["kernels"] == 0


def test_the_operator_is_transformers_own_scan() -> None:
    from transformers.models.mamba import modeling_mamba

    torch.manual_seed(1)
    u, delta, z = torch.randn(3, 2, 6, 5).unbind(0)
    a, (b, c) = -torch.rand(6, 4), torch.randn(2, 2, 4, 5).unbind(0)
    d, bias = torch.randn(2, 6).unbind(0)
    expected = modeling_mamba.mamba_selective_scan(
        u, delta, a, b, c, D=d, z=z, delta_bias=bias, delta_softplus=True
    )
    torch.testing.assert_close(scan(u, delta, a, b, c, d, z, bias), expected)


def test_transformers_scan_comes_back() -> None:
    from transformers.models.mamba import modeling_mamba

    original = modeling_mamba.mamba_selective_scan
    with scan_as_operator():
        assert modeling_mamba.mamba_selective_scan is not original
    assert modeling_mamba.mamba_selective_scan is original


def test_a_cache_is_refused() -> None:
    model = small()
    with scan_as_operator(), pytest.raises(C4nError, match="use_cache=False"):
        model(torch.zeros(1, 3, dtype=torch.int64), use_cache=True)
