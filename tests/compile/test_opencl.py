"""The experimental target adreno: its sources. No device is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

import tvm_c4n
from tests.zoo import ZOO
from tvm_c4n.compile.opencl import opencl_sources
from tvm_c4n.errors import TargetError


@pytest.mark.parametrize("name", ["mlp", "dynamic_block"])
def test_build_gives_opencl_sources_for_a_phone(name: str) -> None:
    executable = tvm_c4n.build(ZOO[name](2, False).mod, "adreno")
    source = opencl_sources(executable)
    assert "__kernel void linear" in source
    assert "cl_khr_fp16" not in source


def test_our_own_mamba_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="no OpenCL kernel for"):
        tvm_c4n.compile_model("mamba-19m", tmp_path / "art", target="adreno")
    assert not list(tmp_path.iterdir())
