"""C4n sparsity in pure numpy: patterns, quantisation, the stored weight."""

from tvm_c4n.sparsity.pack import from_dense
from tvm_c4n.sparsity.pattern import (
    GROUP,
    check_mask,
    describe,
    detect_removed,
    kept_of,
    mask_from_scores,
)
from tvm_c4n.sparsity.quantize import (
    CODE_RANGE,
    SCALE_GROUP,
    default_scale_group,
    group_scales,
    quantize,
)
from tvm_c4n.sparsity.stats import WeightStats, relative_error, size_bytes, stats_of, total
from tvm_c4n.sparsity.weight import (
    DTYPES,
    INT_BITS,
    STORED_DTYPES,
    C4nWeight,
    DType,
    part_shapes,
)

__all__ = [
    "CODE_RANGE",
    "DTYPES",
    "GROUP",
    "INT_BITS",
    "SCALE_GROUP",
    "STORED_DTYPES",
    "default_scale_group",
    "C4nWeight",
    "DType",
    "WeightStats",
    "check_mask",
    "describe",
    "detect_removed",
    "from_dense",
    "group_scales",
    "kept_of",
    "mask_from_scores",
    "part_shapes",
    "quantize",
    "relative_error",
    "size_bytes",
    "stats_of",
    "total",
]
