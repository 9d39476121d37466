"""What a C4n operator is: the attributes that a PrimFunc carries, as one frozen class per kind.

Passes and schedules meet only through these attributes: a pass makes a PrimFunc whose body is the
plain definition of the operator, and a schedule reads the spec back and writes a faster body.

All specs are imported from here; those of products with weights and of experts have files of their
own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar

from tvm_c4n._tvm import PrimFunc
from tvm_c4n.ops.attrs import KIND, PREFIX
from tvm_c4n.ops.expert_spec import (
    ExpertLinearSpec,
    ExpertWeightsSpec,
    GroupedLinearSpec,
    GroupSpec,
    MixSpec,
    RouteSpec,
    SpreadSpec,
)
from tvm_c4n.ops.linear_spec import WEIGHT_ONLY_MAX_COLS, LinearSpec, is_weight_only
from tvm_c4n.ops.op_spec import OpSpec

__all__ = [
    "AdvanceSpec",
    "AttentionSpec",
    "ConvSpec",
    "DeltaSpec",
    "EmbeddingSpec",
    "ExpertLinearSpec",
    "ExpertWeightsSpec",
    "GroupSpec",
    "GroupedLinearSpec",
    "LinearSpec",
    "MixSpec",
    "NO_LIMIT",
    "OpSpec",
    "QuantizeSpec",
    "ReluSquaredSpec",
    "RmsNormPartsSpec",
    "RmsNormSpec",
    "RotarySpec",
    "RouteSpec",
    "SPECS",
    "ScanSpec",
    "SpreadSpec",
    "SsdSpec",
    "SwigluSpec",
    "WEIGHT_ONLY_MAX_COLS",
    "is_weight_only",
    "spec_of",
]

# The largest float32. Attributes are written to files that have no infinity.
NO_LIMIT = 3.4028234663852886e38


@dataclass(frozen=True)
class QuantizeSpec(OpSpec):
    """Activations to int8: a symmetric scale for each `group` columns of a token.

    Attributes
    ----------
    cols, group : int
    padded : int
        Columns of the result, at least `cols`; the rest is zero.
    input_width : int
        Width of the rows of the input, of which the first `cols` are read.
    parts : int
        How many vectors of `cols` columns lie next to each other in a row; each is padded.
    """

    kind: ClassVar[str] = "quantize"
    later: ClassVar[tuple[str, ...]] = ("batched", "parts")
    cols: int
    group: int
    padded: int
    input_width: int
    parts: int = 1


@dataclass(frozen=True)
class EmbeddingSpec(OpSpec):
    """Rows of a weight matrix picked by token ids, times `scale`; may be the repacked LM head."""

    kind: ClassVar[str] = "embedding"
    rows: int
    cols: int
    dtype: str
    scale_group: int
    lanes: int
    scale: float = 1.0


@dataclass(frozen=True)
class RmsNormSpec(OpSpec):
    """``x / sqrt(mean(x^2) + eps) * weight`` over `cols`; of all tokens, or of the last one.

    Attributes
    ----------
    groups : int
        Slices of `cols`, each with a mean of its own; divides `cols`.
    gap : int
        Columns of the input behind each slice that are not read.
    """

    kind: ClassVar[str] = "rms_norm"
    later: ClassVar[tuple[str, ...]] = ("batched", "gap")
    cols: int
    eps: float
    last: bool = False
    groups: int = 1
    gap: int = 0

    @property
    def size(self) -> int:
        """Columns of a slice."""
        return self.cols // self.groups


@dataclass(frozen=True)
class RmsNormPartsSpec(OpSpec):
    """RMSNorm without weight over each part of a row: `rank` columns, then twice `state`."""

    kind: ClassVar[str] = "rms_norm_parts"
    rank: int
    state: int
    eps: float

    @property
    def cols(self) -> int:
        """Columns of a row."""
        return self.rank + 2 * self.state


@dataclass(frozen=True)
class ConvSpec(OpSpec):
    """Causal depthwise convolution over time, then SiLU or gated; state is updated in place.

    Attributes
    ----------
    channels, layers : int
    width : int
        Taps.
    input_width : int
        Width of the rows of the input.
    first : int
        The input's column at which the channels begin.
    gated : bool
        The input has gates, see `tvm_c4n.ops.conv1d`; there is no SiLU then.
    """

    kind: ClassVar[str] = "conv1d"
    later: ClassVar[tuple[str, ...]] = ("batched", "gated")
    channels: int
    width: int
    layers: int
    input_width: int
    first: int = 0
    gated: bool = False


@dataclass(frozen=True)
class ScanSpec(OpSpec):
    """Mamba-1's selective scan with its softplus, skip and gate; state is updated in place.

    Attributes
    ----------
    channels, state, layers, dt_rank : int
        Sizes; `state` is N.
    half : bool
        Whether A is float16. Where projections are integers, its float32 would be up to 6 % of the
        bytes that a token reads, for digits that nothing else has.
    """

    kind: ClassVar[str] = "selective_scan"
    channels: int
    state: int
    layers: int
    dt_rank: int
    half: bool = False


@dataclass(frozen=True)
class SwigluSpec(OpSpec):
    """``silu(gate) * up`` over `cols` columns: two inputs, or one that holds gate, then up."""

    kind: ClassVar[str] = "swiglu"
    cols: int
    fused: bool = False


@dataclass(frozen=True)
class ReluSquaredSpec(OpSpec):
    """``max(x, 0)^2`` over `cols` columns."""

    kind: ClassVar[str] = "relu_squared"
    cols: int


@dataclass(frozen=True)
class SsdSpec(OpSpec):
    """Mamba-2's scan with its softplus, skip and gate; state is updated in place.

    Attributes
    ----------
    heads, head_dim, state, layers : int
        Sizes; `head_dim` is P, `state` is S.
    groups : int
        Groups of heads that share B and C; divides `heads`.
    low, high : float
        Limits of a step's delta; `NO_LIMIT` and above: none.
    half : bool
        Whether the state is stored as float16; arithmetic is float32.
    """

    kind: ClassVar[str] = "ssd_scan"
    heads: int
    head_dim: int
    state: int
    layers: int
    groups: int = 1
    low: float = 0.0
    high: float = NO_LIMIT
    half: bool = False

    @property
    def inner(self) -> int:
        """Columns of x, z and the result."""
        return self.heads * self.head_dim

    @property
    def bc_width(self) -> int:
        """Columns of B and C together."""
        return 2 * self.groups * self.state


@dataclass(frozen=True)
class AttentionSpec(OpSpec):
    """Causal grouped-query attention over a ring of keys and values, which are updated in place.

    Attributes
    ----------
    heads, kv_heads, head_dim, layers : int
        Sizes; `kv_heads` divides `heads`.
    context : int
        Tokens that the ring holds.
    scale : float
        Factor of the scores before the softmax.
    rotary : int
        Elements of a head, the first ones, that are rotated by their position; even, 0: none.
    half : bool
        Whether keys and values are float16 in the ring.
    gated : bool
        Whether each head's output is multiplied by the sigmoid of a gate.
    """

    kind: ClassVar[str] = "attention"
    later: ClassVar[tuple[str, ...]] = ("batched", "gated")
    heads: int
    kv_heads: int
    head_dim: int
    layers: int
    context: int
    scale: float
    rotary: int
    half: bool
    gated: bool = False


@dataclass(frozen=True)
class DeltaSpec(OpSpec):
    """The gated delta rule with its softplus and sigmoid; state is updated in place.

    Attributes
    ----------
    heads, head_dim, key_heads, key_dim, layers : int
        Sizes; `head_dim` is P, `key_dim` is N; `key_heads` divides `heads`.
    eps : float
        Added to the squares of the lengths of queries and keys.
    """

    kind: ClassVar[str] = "delta_rule"
    heads: int
    head_dim: int
    key_heads: int
    key_dim: int
    layers: int
    eps: float

    @property
    def inner(self) -> int:
        """Columns of the values and of the result."""
        return self.heads * self.head_dim

    @property
    def keys(self) -> int:
        """Columns of all keys."""
        return self.key_heads * self.key_dim


@dataclass(frozen=True)
class RotarySpec(OpSpec):
    """Cosines and sines of a call's positions, for the first `rotary` elements of a head."""

    kind: ClassVar[str] = "rotary"
    rotary: int


@dataclass(frozen=True)
class AdvanceSpec(OpSpec):
    """Adds a call's tokens to the position, in place."""

    kind: ClassVar[str] = "advance"


SPECS: tuple[type[OpSpec], ...] = (
    LinearSpec,
    ExpertLinearSpec,
    GroupedLinearSpec,
    GroupSpec,
    SpreadSpec,
    MixSpec,
    RouteSpec,
    QuantizeSpec,
    EmbeddingSpec,
    RmsNormSpec,
    RmsNormPartsSpec,
    ConvSpec,
    ScanSpec,
    SwigluSpec,
    ReluSquaredSpec,
    SsdSpec,
    AttentionSpec,
    DeltaSpec,
    RotarySpec,
    AdvanceSpec,
)


_CASTERS: dict[str, Callable[[Any], Any]] = {
    "int": int,
    "bool": bool,
    "str": str,
    "float": float,
    "tuple[int, ...]": lambda numbers: tuple(map(int, numbers)),
}


def spec_of(func: Any) -> OpSpec | None:
    """Read the spec back from a function's attributes; None where it is no C4n operator.

    Parameters
    ----------
    func : PrimFunc or any other function of an IRModule
    """
    if not isinstance(func, PrimFunc) or func.attrs is None or KIND not in func.attrs:
        return None
    kind = str(func.attrs[KIND])
    cls = next(c for c in SPECS if c.kind == kind)
    values = {}
    for field in fields(cls):
        name = f"{PREFIX}{field.name}"
        if name not in func.attrs and field.default is not MISSING:
            continue  # written before the field was there
        raw = func.attrs[name]
        values[field.name] = _CASTERS[str(field.type)](raw.value if hasattr(raw, "value") else raw)
    return cls(**values)
