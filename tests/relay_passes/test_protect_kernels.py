"""ProtectKernels: which kernels are marked; `cases.py` has a module before and after it."""

from __future__ import annotations

from relay_passes import ProtectKernels
from tests.relay_passes.c4n_layer import layer, linear_of, weight_of
from tests.relay_passes.cases import Foreign
from tvm_c4n._tvm import structural_equal


def test_a_mark_that_a_kernel_has_stays() -> None:
    gvar = Foreign.get_global_var("narrow")
    mod = Foreign.clone()
    mod.update_func(gvar, mod[gvar].with_attr("op_pattern", 4))
    assert int(ProtectKernels()(mod)["narrow"].attrs["op_pattern"]) == 4


def test_only_shapes_unlike_tvms_are_marked() -> None:
    after = ProtectKernels()(Foreign)
    assert int(after["narrow"].attrs["op_pattern"]) == 8
    assert after["wide"].attrs is None or "op_pattern" not in after["wide"].attrs
    mod = layer(weight_of("int8"))
    assert structural_equal(linear_of(ProtectKernels()(mod)), linear_of(mod))
