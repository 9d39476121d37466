"""transformers' MambaForCausalLM to Relax through ``torch.export``, its scan as one operator.

torch unrolls the selective scan's loop over time, about ten operators per token and layer, and no
compiler rolls it up again. So the scan is exported as one operator instead of being recognised
afterwards: transformers calls a function of its module for it, and while the model is exported, a
torch operator of the same meaning replaces that function. The rest is exported unchanged.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tvm_c4n._tvm import IRModule, relax, te, tirx
from tvm_c4n.errors import C4nError
from tvm_c4n.ops import selective_scan
from tvm_c4n.ops.emitter import ConstantPool, Emitter
from tvm_c4n.ops.spec import ScanSpec


@torch.library.custom_op("tvm_c4n::selective_scan", mutates_args=())  # type: ignore[untyped-decorator]
def scan(
    u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, z: Tensor, bias: Tensor
) -> Tensor:
    """Scan from a zero state, with softplus, skip connection and gate.

    Parameters
    ----------
    u, delta, z : (batch, channels, tokens)
    a : (channels, N)
    b, c : (batch, N, tokens)
    d, bias : (channels,)

    Returns
    -------
    (batch, channels, tokens)
    """
    step = F.softplus(delta + bias[:, None])
    state = torch.zeros(u.shape[0], *a.shape, dtype=u.dtype)
    outputs = []
    for t in range(u.shape[2]):
        decay = torch.exp(step[:, :, t, None] * a)
        state = decay * state + (step[:, :, t] * u[:, :, t])[..., None] * b[:, None, :, t]
        outputs.append((state * c[:, None, :, t]).sum(-1) + d * u[:, :, t])
    return torch.stack(outputs, 2) * F.silu(z)


@scan.register_fake  # type: ignore[untyped-decorator]
def _(u: Tensor, *_rest: Tensor) -> Tensor:
    return torch.empty_like(u, memory_format=torch.contiguous_format)


@contextmanager
def scan_as_operator() -> Iterator[None]:
    """Let transformers' Mamba call the operator, for `torch.export` without a cache."""
    from transformers.models.mamba import modeling_mamba

    def replacement(
        u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, **options: Any
    ) -> Tensor:
        if options.get("return_last_state"):
            raise C4nError("the scan's last state is not exported: set use_cache=False")
        return scan(u, delta, A, B, C, options["D"], options["z"], options["delta_bias"])

    original = modeling_mamba.mamba_selective_scan
    modeling_mamba.mamba_selective_scan = replacement
    try:
        yield
    finally:
        modeling_mamba.mamba_selective_scan = original


def export_causal_lm(model: Any, tokens: int) -> IRModule:
    """Export a MambaForCausalLM for prompts of one length.

    Parameters
    ----------
    model : transformers.MambaForCausalLM
        Float32.
    tokens : int
        Length of the prompts.

    Returns
    -------
    IRModule
        ``main(ids (1, tokens) int64) -> logits (1, tokens, vocabulary)``, for `tvm_c4n.build`.
    """
    from tvm.relax.frontend.torch import from_exported_program

    class Logits(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids: Tensor) -> Tensor:
            logits: Tensor = self.model(ids, use_cache=False).logits
            return logits

    with scan_as_operator(), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        ids = torch.zeros(1, tokens, dtype=torch.int64)
        program = torch.export.export(Logits().eval(), (ids,))
        mod: IRModule = from_exported_program(
            program,
            unwrap_unit_return_tuple=True,
            custom_convert_map={"selective_scan.default": convert_scan},
        )
    return mod


def convert_scan(node: Any, importer: Any) -> relax.Var:
    """Convert the torch operator to ours; an entry of `from_exported_program`'s map.

    Raises
    ------
    C4nError
        A batch other than 1.
    """
    bb = importer.block_builder
    u, delta, a, b, c, d, z, bias = (importer.env[argument] for argument in node.args)
    batch, channels, tokens = (int(n) for n in u.ty.shape)
    if batch != 1:
        raise C4nError(f"the selective scan is compiled for a batch of 1, not {batch}")
    states = int(a.ty.shape[1])

    def by_token(x: Any) -> Any:
        """Transpose ``(1, n, tokens)`` to ``(tokens, n)``."""
        transposed = bb.emit(relax.op.permute_dims(x, [0, 2, 1]))
        return bb.emit(relax.op.reshape(transposed, (tokens, int(x.ty.shape[1]))))

    # 1. The operator reads dt, B and C as columns of x_proj's output, and the gate as those of
    #    in_proj's. Where the model has these tensors they are used, else they are concatenated.
    bc, dt_rank = _x_proj_output(bb, b, c)
    if bc is None:
        bc, dt_rank = bb.emit(relax.op.concat([by_token(b), by_token(c)], axis=1)), 0
    else:
        bc = bb.emit(relax.op.reshape(bc, (tokens, dt_rank + 2 * states)))
    xz = _in_proj_output(bb, z)
    xz = bb.emit(relax.op.concat([z, z], axis=1)) if xz is None else xz
    # 2. Its step size has the bias added, A has the state's axis first, the state starts as zeros.
    step = bb.emit(relax.op.add(by_token(delta), bias))
    a_by_state = bb.emit(relax.op.permute_dims(a))
    # An input is named as its source, though nothing of it is read: a constant may not be updated
    # in place.
    state = bb.emit_te(_zeros, step, (1, states, channels))
    # 3. Call it, and return its output as transformers' function does.
    spec = ScanSpec(True, channels=channels, state=states, layers=1, dt_rank=dt_rank)
    em = Emitter(bb, tirx.IntImm("int64", tokens), ConstantPool())
    inputs = [step, by_token(u), bc, by_token(xz), a_by_state, d, state, relax.prim_value(0)]
    out = [state.ty, relax.TensorType((tokens, channels), "float32")]
    _, y = em.call(selective_scan.define(spec), inputs, out, inplace=6)
    y = bb.emit(relax.op.reshape(y, (1, tokens, channels)))
    return bb.emit(relax.op.permute_dims(y, [0, 2, 1]))


def _zeros(_source: te.Tensor, shape: tuple[int, ...]) -> te.Tensor:
    return te.compute(shape, lambda *_: tirx.const(0.0, "float32"), name="zero_state")


def _split_of(bb: relax.BlockBuilder, expr: Any) -> tuple[Any, int] | None:
    """Return the call of the split that a tensor is an output of, and the output's number."""
    value = bb.lookup_binding(expr) if isinstance(expr, relax.Var) else expr
    if not isinstance(value, relax.TupleGetItem):
        return None
    split = bb.lookup_binding(value.tuple_value)
    if getattr(getattr(split, "op", None), "name", None) != "relax.split":
        return None
    return split, int(value.index)


def _x_proj_output(bb: relax.BlockBuilder, b: Any, c: Any) -> tuple[Any, int]:
    """Return x_proj's output and dt_rank where B and C are its last two parts, transposed."""
    parts = []
    for expr in (b, c):
        value = bb.lookup_binding(expr)
        if getattr(getattr(value, "op", None), "name", None) != "relax.permute_dims":
            return None, 0
        parts.append(_split_of(bb, value.args[0]))
    first, second = parts
    if first is None or second is None or not first[0].same_as(second[0]):
        return None, 0
    split, numbers = first[0], (first[1], second[1])
    if numbers != (1, 2) or len(split.ty.fields) != 3:
        return None, 0
    return split.args[0], int(split.ty.fields[0].shape[2])


def _in_proj_output(bb: relax.BlockBuilder, z: Any) -> Any:
    """Return in_proj's output, transposed, where z is the second half of its channels."""
    found = _split_of(bb, z)
    if found is None or found[1] != 1 or len(found[0].ty.fields) != 2:
        return None
    return found[0].args[0] if int(found[0].attrs.axis) == 1 else None
