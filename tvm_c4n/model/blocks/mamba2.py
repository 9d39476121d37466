"""The mixer of Mamba-2 (Dao and Gu, 2024), which most hybrids share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import ClassVar

from tvm_c4n.model.description import Block, Projection, Reordering
from tvm_c4n.model.rows import Rows
from tvm_c4n.model.states import STATE_BITS, State, StateDType, StateDTypes
from tvm_c4n.model.tensor_spec import Segment, TensorSpec
from tvm_c4n.model.tensor_spec import tensor as axes


@dataclass(frozen=True)
class Mamba2(Block):
    """A scan of heads, each with one decay, behind a causal convolution over x, B and C.

    in_proj's rows are two projections: those of z and x may be pruned, those of B, C and dt, which
    say what a state keeps, stay dense unless a recipe names them.

    Attributes
    ----------
    heads, head_dim, groups, d_state, d_conv : int
        ``num_heads``, ``head_dim``, ``n_groups`` (heads of a group share B and C),
        ``state_size`` and ``conv_kernel`` of config.json.
    conv_bias, in_bias, out_bias : bool
        Whether the convolution, in_proj and out_proj have a bias.
    norm_eps : float, optional
        eps of the RMSNorm of each group's gated output; without it there is none.
    limits : tuple of float
        The least and the largest step size delta.
    tap_factors : tuple of float
        Of the convolution's taps for x, B and C.
    state_dtype : str
        Of the scan's state between calls.
    """

    kind: ClassVar[str] = "mamba2"
    heads: int
    head_dim: int
    groups: int
    d_state: int
    d_conv: int
    conv_bias: bool = True
    in_bias: bool = False
    out_bias: bool = False
    norm_eps: float | None = 1e-5
    limits: tuple[float, float] = (0.0, inf)
    tap_factors: tuple[float, float, float] = (1.0, 1.0, 1.0)
    state_dtype: StateDType = "float32"

    @property
    def d_inner(self) -> int:
        """Channels of x, z and the output."""
        return self.heads * self.head_dim

    @property
    def bc_width(self) -> int:
        """Channels of B and C together."""
        return 2 * self.groups * self.d_state

    def in_rows(self, tensor: str) -> tuple[str, str]:
        """Return the names of in_proj's rows of z and x, and of B, C and dt."""
        first, all_rows = 2 * self.d_inner, 2 * self.d_inner + self.bc_width + self.heads
        return Rows(tensor, 0, first).name, Rows(tensor, first, all_rows).name

    def tensors(self) -> dict[str, TensorSpec]:
        """Names, without the prefix, and axes of its tensors."""
        hidden, inner = self.hidden, Segment("inner", self.d_inner)
        conv = (inner, Segment("", self.bc_width))
        zx, bcdt = (inner, inner), (Segment("", self.bc_width + self.heads),)
        zx_name, bcdt_name = self.in_rows("in_proj.weight")
        found = {
            "A_log": axes(self.heads),
            "D": axes(self.heads),
            "dt_bias": axes(self.heads),
            "conv1d.weight": axes(conv, 1, self.d_conv),
            zx_name: axes(zx, hidden),
            bcdt_name: axes(bcdt, hidden),
            "out_proj.weight": axes(hidden, inner),
        }
        if self.conv_bias:
            found["conv1d.bias"] = axes(conv)
        if self.norm_eps is not None:
            found["norm.weight"] = axes(inner)
        if self.in_bias:
            zx_name, bcdt_name = self.in_rows("in_proj.bias")
            found |= {zx_name: axes(zx), bcdt_name: axes(bcdt)}
        if self.out_bias:
            found["out_proj.bias"] = axes(hidden)
        return found

    def projections(self) -> tuple[Projection, ...]:
        """Return its projections, in the order in which a token passes them."""
        prefix = self.prefix
        zx, bcdt = self.in_rows(prefix + "in_proj.weight")
        biases = self.in_rows(prefix + "in_proj.bias") if self.in_bias else (None, None)
        return (
            Projection("in_proj", zx, biases[0], bias_factor=self.bias_factor("in_proj")),
            Projection(
                "bcdt_proj",
                bcdt,
                biases[1],
                bias_factor=self.bias_factor("bcdt_proj"),
                pruned=False,
                at_least_int8=True,
                kept=True,
            ),
            Projection(
                "out_proj",
                prefix + "out_proj.weight",
                prefix + "out_proj.bias" if self.out_bias else None,
                bias_factor=self.bias_factor("out_proj"),
            ),
        )

    def with_state_dtypes(self, dtypes: StateDTypes) -> Mamba2:
        """Return the block with a scan state of that dtype."""
        return replace(self, state_dtype=dtypes.scan)

    def states(self) -> tuple[State, ...]:
        """Return the last inputs of the convolution, oldest first, and the scan's state."""
        past = self.d_conv - 1
        return (
            State("conv_x", (past, self.d_inner)),
            State("conv_bc", (past, self.bc_width)),
            State("ssm", (self.heads, self.d_state, self.head_dim), STATE_BITS[self.state_dtype]),
        )

    def reorderings(self) -> tuple[Reordering, ...]:
        """Channels of a head have one decay: they may be in any order."""
        return (Reordering("inner", "out_proj", self.head_dim),)
