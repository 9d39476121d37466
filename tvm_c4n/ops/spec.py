"""What a C4n operator is: the attributes that a PrimFunc carries, as one frozen class per kind.

Passes and schedules meet only through these attributes: a pass makes a PrimFunc whose body is the
plain definition of the operator, and a schedule reads the spec back and writes a faster body.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, MISSING, asdict, dataclass, fields
from typing import Any, ClassVar

from tvm_c4n._tvm import PrimFunc
from tvm_c4n.ops.attrs import KIND, PREFIX
from tvm_c4n.sparsity import INT_BITS

# Dense int8 weights of at most this many columns multiply float32 activations: to quantise so few
# of them costs more than integer products save. dt_proj's rows are that short, 160 columns at 2.8b
# (docs/decisions/weight-only-dt-proj.md).
WEIGHT_ONLY_MAX_COLS = 192
# The largest float32. Attributes are written to files that have no infinity.
NO_LIMIT = 3.4028234663852886e38


def is_weight_only(cols: int, removed: int, dtype: str) -> bool:
    """Return whether integer weights of this form multiply float32 activations."""
    return dtype == "int8" and removed == 0 and cols <= WEIGHT_ONLY_MAX_COLS


@dataclass(frozen=True)
class OpSpec:
    """Base of the specs.

    Attributes
    ----------
    kind : str
        Names the operator.
    later : tuple of str
        Fields that are written only where they are not the default: the records of tuning of before
        they were there concern the same operators.
    dynamic : bool
        True: the number of tokens is symbolic. False: one token (a decode step).
    batched : bool
        Whether each token is the next one of a sequence of its own (a batched decode step); then
        `dynamic`, too. Where states lie: `tvm_c4n.ops.slots`.
    """

    kind: ClassVar[str] = ""
    later: ClassVar[tuple[str, ...]] = ("batched",)
    dynamic: bool
    _: KW_ONLY
    batched: bool = False

    @property
    def prefill(self) -> bool:
        """Whether the tokens follow each other in one text."""
        return self.dynamic and not self.batched

    def values(self) -> dict[str, Any]:
        """Return the fields that are written, by name."""
        defaults = {field.name: field.default for field in fields(self) if field.name in self.later}
        return {k: v for k, v in asdict(self).items() if k not in defaults or v != defaults[k]}

    def attrs(self) -> dict[str, Any]:
        """Return the PrimFunc attributes of this operator."""
        own = {f"{PREFIX}{name}": value for name, value in self.values().items()}
        # 8 is relax's kOpaque: TVM must not fuse other operators into these bodies.
        return {KIND: self.kind, **own, "tirx.noalias": True, "op_pattern": 8}


@dataclass(frozen=True)
class LinearSpec(OpSpec):
    """``out = (factor) x @ weight.T (+ bias) (+ residual)`` with C4n weights.

    Attributes
    ----------
    rows, cols : int
        Shape of the dense weight.
    removed : int
        Weights removed of each aligned group of 4 columns, 0 to 3.
    dtype : str
        Type of the kept weights: ``"float32"``, ``"float16"``, ``"int8"``, ``"int4"``.
    scale_group : int
        Dense columns that share a scale (integer dtypes), else 0.
    lanes : int
        Rows of a panel of repacked weights; 0 where the weights are still in the stored form.
    input_width : int
        Width of the rows of `x`, of which the first `cols` are read (float dtypes).
    bias, residual : bool
        Whether these arguments follow the weights, in this order.
    factor : float
        What the product is multiplied by; 0: nothing.
    """

    kind: ClassVar[str] = "linear"
    later: ClassVar[tuple[str, ...]] = ("batched", "factor")
    rows: int
    cols: int
    removed: int
    dtype: str
    scale_group: int
    lanes: int
    input_width: int
    bias: bool = False
    residual: bool = False
    factor: float = 0.0

    @property
    def quantized(self) -> bool:
        """Whether the weights are integers with scales."""
        return self.dtype in INT_BITS

    @property
    def weight_only(self) -> bool:
        """Whether the weights are integers and the activations float32."""
        return is_weight_only(self.cols, self.removed, self.dtype)

    @property
    def integer(self) -> bool:
        """Whether activations arrive as int8 with scales (see `QuantizeSpec`)."""
        return self.quantized and not self.weight_only

    @property
    def kept(self) -> int:
        """Weights kept of each group."""
        return 4 - self.removed


@dataclass(frozen=True)
class ExpertWeightsSpec(OpSpec):
    """Base of products with the matrices of several experts.

    Attributes
    ----------
    rows, cols : int
        Shape of the dense matrix of one expert.
    removed, dtype, scale_group, lanes
        As of `LinearSpec`, the same for all experts.
    experts : int
        How many there are.
    """

    rows: int
    cols: int
    removed: int
    dtype: str
    scale_group: int
    lanes: int
    experts: int

    @property
    def one(self) -> LinearSpec:
        """The operator of one expert and one token; what is mixed is added to what is there."""
        return LinearSpec(
            False,
            self.rows,
            self.cols,
            self.removed,
            self.dtype,
            self.scale_group,
            self.lanes,
            self.cols,
            residual=self.residual,
        )

    @property
    def integer(self) -> bool:
        """Whether activations arrive as int8 with scales."""
        return self.one.integer

    @property
    def residual(self) -> bool:
        """Whether the result is added to the residual stream."""
        return False


@dataclass(frozen=True)
class ExpertLinearSpec(ExpertWeightsSpec):
    """A token is multiplied with the matrices of the experts that it chose.

    ``out[j] = weight[chosen[j]] @ x`` for each of a token's experts, next to each other; or, if
    they are `mixed`, ``out = residual + sum_j share[j] * weight[chosen[j]] @ x[j]``.

    Attributes
    ----------
    chosen : int
        How many experts a token has.
    mixed : bool
        See above.
    """

    kind: ClassVar[str] = "expert_linear"
    chosen: int
    mixed: bool = False

    @property
    def residual(self) -> bool:
        """Whether the result is added to the residual stream."""
        return self.mixed


@dataclass(frozen=True)
class GroupedLinearSpec(ExpertWeightsSpec):
    """Rows are ordered by expert, and each is multiplied with its own expert's matrix."""

    kind: ClassVar[str] = "grouped_linear"


@dataclass(frozen=True)
class GroupSpec(OpSpec):
    """The places of a call's pairs of token and expert in the order of experts."""

    kind: ClassVar[str] = "expert_groups"
    experts: int
    chosen: int


@dataclass(frozen=True)
class SpreadSpec(OpSpec):
    """Each token's row of `cols` elements, at the places of its pairs."""

    kind: ClassVar[str] = "expert_spread"
    cols: int
    chosen: int
    dtype: str


@dataclass(frozen=True)
class MixSpec(OpSpec):
    """The residual stream, and to each token's row the sum of its pairs' rows by their shares."""

    kind: ClassVar[str] = "expert_mix"
    cols: int
    chosen: int


@dataclass(frozen=True)
class RouteSpec(OpSpec):
    """The experts with the highest logits, and the softmax over these: a token's shares."""

    kind: ClassVar[str] = "route"
    experts: int
    chosen: int


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
        caster = {"int": int, "bool": bool, "str": str, "float": float}[str(field.type)]
        values[field.name] = caster(raw.value if hasattr(raw, "value") else raw)
    return cls(**values)
