"""The weights of experts as arguments of a PrimFunc, and the way to the matrix of one of them.

If all experts have one n, their matrices lie one behind the other, and a matrix is reached by an
offset. If they differ, those of each n lie so, and a table says of every expert which n it has, and
its number among those: the code for each n is there, and the table's entry chooses. Either way the
code is that of one expert and one token, `tvm_c4n.ops.c4n_linear`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvm_c4n._tvm import T
from tvm_c4n.errors import C4nError
from tvm_c4n.ops.repack import Spec, panel_format, stacked_layout, stored_formats
from tvm_c4n.ops.repack.stacked import N_BITS, table_of
from tvm_c4n.ops.spec import ExpertWeightsSpec, LinearSpec
from tvm_c4n.ops.stored import stored_arrays
from tvm_c4n.ops.tir import declare_or_bind
from tvm_c4n.ops.weight_format import Shape
from tvm_c4n.sparsity import GROUP, AnyWeight, StackedWeight

# Emits code for the matrix of an expert: given the operator of one, the arrays of all experts that
# have its n, and its number among them.
Emit = Callable[[LinearSpec, list[Any], Any], None]


@dataclass(frozen=True)
class ExpertWeights:
    """The declared arrays of experts' weights.

    Attributes
    ----------
    spec : ExpertWeightsSpec
    arrays : list of Buffer
        Repacked one, else those of each n in the stored form and the table.
    """

    spec: ExpertWeightsSpec
    arrays: list[Any]

    @classmethod
    def declare(cls, spec: ExpertWeightsSpec) -> ExpertWeights:
        """Declare the arrays: those of one expert, times the experts along the first axis."""
        if spec.counts and spec.lanes:
            return cls(
                spec, [declare_or_bind("weight0", (stacked_layout(spec).size_bytes,), "uint8")]
            )
        shapes = stored_shapes(spec)
        if spec.lanes:
            (shape, dtype), *_ = panel_format(spec).shapes()
            shapes = [((spec.experts * shape[0], *shape[1:]), dtype)]
        return cls(spec, [declare_or_bind(f"weight{i}", *s) for i, s in enumerate(shapes)])

    def select(self, expert: Any, emit: Emit) -> None:
        """Emit code for the matrix of an expert, for each n that it may have."""
        if not self.spec.counts:
            emit(self.spec.one, self.arrays, expert)
            return
        entry = T.bind(self._table()[expert])
        number = T.bind(T.cast(entry >> N_BITS, "int64"))

        def branch(parts: list[tuple[int, list[Any]]]) -> None:
            (n, arrays), *others = parts
            if not others:
                emit(self.spec.of(n), arrays, number)
                return
            with T.If(entry % (1 << N_BITS) == n):
                with T.Then():
                    emit(self.spec.of(n), arrays, number)
                with T.Else():
                    branch(others)

        branch(self._parts())

    def _table(self) -> Any:
        if not self.spec.lanes:
            return self.arrays[-1]
        start = T.address_of(self.arrays[0][0])
        return T.decl_buffer((self.spec.experts,), "int32", data=start, layout=None)

    def _parts(self) -> list[tuple[int, list[Any]]]:
        """Return each n with the arrays of its experts."""
        spec, found = self.spec, list[tuple[int, list[Any]]]()
        if spec.lanes:
            layout = stacked_layout(spec)
            for (n, count), fmt, at in zip(
                spec.by_removed(), layout.formats, layout.offsets, strict=True
            ):
                bundles, *inner = fmt.layout.shape
                start = T.address_of(self.arrays[0][at])
                shape = (count * bundles, *inner)
                found.append((n, [T.decl_buffer(shape, "uint8", data=start, layout=None)]))
            return found
        arrays = iter(self.arrays)
        return [
            (form.removed, [next(arrays) for _ in form.shapes()]) for form in stored_formats(spec)
        ]


def stored_shapes(spec: Spec) -> list[Shape]:
    """Return shape and dtype of the arrays of an operator's weights in the stored form."""
    shapes = [shape for form in stored_formats(spec) for shape in form.shapes()]
    if isinstance(spec, ExpertWeightsSpec) and spec.counts:
        shapes.append(((spec.experts,), "int32"))
    return shapes


def stored_weight(spec: Spec, arrays: Sequence[NDArray[Any]]) -> AnyWeight:
    """Return the weight of the arrays of `stored_shapes`."""
    left, parts = iter(arrays), []
    for form in stored_formats(spec):
        parts.append(form.weight([next(left) for _ in form.shapes()]))
    if len(parts) == 1:
        return parts[0]
    return StackedWeight(tuple(int(entry) % (1 << N_BITS) for entry in next(left)), tuple(parts))


def rows_apart(spec: ExpertWeightsSpec) -> int:
    """Return how many rows of the array lie from one expert to the next."""
    if not spec.lanes:
        return spec.rows
    layout = panel_format(spec).layout
    return layout.bundles * layout.bundle_rows


def form_of(weight: AnyWeight, experts: int) -> dict[str, Any]:
    """Return the fields of an `ExpertWeightsSpec` for a weight of so many experts, as stored.

    Raises
    ------
    C4nError
        Experts differ so that some multiply int8 activations, and others float32.
    """
    removed, counts = weight.removed, tuple[int, ...]()
    if isinstance(removed, tuple):
        counts = tuple(removed.count(n) for n in range(GROUP))
        removed = max(removed)
    form: dict[str, Any] = {
        "rows": weight.rows // experts,
        "cols": weight.cols,
        "removed": removed,
        "dtype": weight.dtype,
        "scale_group": weight.scale_group,
        "lanes": 0,
        "experts": experts,
        "counts": counts,
    }
    spec = ExpertWeightsSpec(False, **form)
    if len({spec.of(n).integer for n, _ in spec.by_removed()}) > 1:
        raise C4nError(
            f"{weight.dtype} experts of {weight.cols} columns: some are dense and others are not, "
            "which takes more columns; prune the model again, all of them or none"
        )
    return form


def arrays_of(weight: AnyWeight) -> list[NDArray[np.generic]]:
    """Return the arrays of a weight in the stored form, as `ExpertWeights.declare` has them."""
    if not isinstance(weight, StackedWeight):
        return stored_arrays(weight)
    arrays = [array for part in weight.parts for array in stored_arrays(part)]
    return [*arrays, table_of(weight)]
