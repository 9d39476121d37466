"""The experimental target adreno: its sources, and what it refuses. No device is needed."""

from __future__ import annotations

from pathlib import Path

import pytest
from tvm.script import ir as I
from tvm.script import tirx as T

import tvm_c4n
from tests.zoo import ZOO
from tvm_c4n.compile.opencl import check_grids, opencl_sources
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


@I.ir_module(s_tir=True)
class Unscheduled:
    """A kernel that no schedule has given a grid."""

    @T.prim_func(s_tir=True)
    def add_one(x: T.Buffer((4,), "float32"), y: T.Buffer((4,), "float32")) -> None:
        for i in range(4):
            with T.sblock("add"):
                v = T.axis.spatial(4, i)
                y[v] = x[v] + T.float32(1)


def test_a_kernel_without_a_grid_is_refused() -> None:
    with pytest.raises(TargetError, match="no GPU schedule for kernel 'add_one'"):
        check_grids(Unscheduled)
