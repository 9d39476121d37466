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
from tvm_c4n.sparsity.removed import (
    Removed,
    count_removed,
    describe_counts,
    describe_removed,
    joined_removed,
    kept_share,
    removed_of_each,
    short_removed,
    usual_removed,
)
from tvm_c4n.sparsity.stacked import AnyWeight, StackedWeight, pack
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
    "AnyWeight",
    "DTYPES",
    "GROUP",
    "INT_BITS",
    "SCALE_GROUP",
    "STORED_DTYPES",
    "default_scale_group",
    "C4nWeight",
    "DType",
    "Removed",
    "StackedWeight",
    "WeightStats",
    "check_mask",
    "count_removed",
    "describe",
    "describe_counts",
    "describe_removed",
    "detect_removed",
    "from_dense",
    "group_scales",
    "joined_removed",
    "kept_of",
    "kept_share",
    "mask_from_scores",
    "pack",
    "part_shapes",
    "quantize",
    "relative_error",
    "removed_of_each",
    "short_removed",
    "size_bytes",
    "stats_of",
    "total",
    "usual_removed",
]
