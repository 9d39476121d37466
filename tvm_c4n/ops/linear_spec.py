"""What a product with one weight matrix is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tvm_c4n.ops.op_spec import OpSpec
from tvm_c4n.sparsity import INT_BITS

# Dense int8 weights of at most this many columns multiply float32 activations: to quantise so few
# of them costs more than integer products save. dt_proj's rows are that short, 160 columns at 2.8b
# (docs/decisions/weight-only-dt-proj.md).
WEIGHT_ONLY_MAX_COLS = 192


def is_weight_only(cols: int, removed: int, dtype: str) -> bool:
    """Return whether integer weights of this form multiply float32 activations."""
    return dtype == "int8" and removed == 0 and cols <= WEIGHT_ONLY_MAX_COLS


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
