"""What pruning did: per projection, per kind of projection, in bytes and in seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from statistics import fmean
from typing import Any

from pydantic import BaseModel, ConfigDict

from tvm_c4n.sparsity import DTYPES, Removed, removed_of_each


class ProjectionReport(BaseModel):
    """One weight.

    Attributes
    ----------
    name : str
        The tensor's.
    layer : int
    projection : str
    removed : int, or tuple of int
        n of every 4; of experts that differ, that of each.
    dtype : str
    masked_error, output_error : float
        ``||(W - W') X||^2 / ||W X||^2`` on the calibration text: with the mask only, and with the
        final weights. X are the inputs that the already pruned layers before give. Of a model that
        is only rounded, to int8 or float16, ``||W - W'||^2 / ||W||^2``: it is not calibrated. Where
        layers are repaired, these are the errors before.
    size_bytes : int
        Values, positions and scales.
    expert_tokens : tuple of int
        How many tokens of the calibration text each expert was given; none of other projections.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    layer: int
    projection: str
    removed: Removed
    dtype: str
    masked_error: float
    output_error: float
    size_bytes: int
    expert_tokens: tuple[int, ...] = ()


class LayerRepair(BaseModel):
    """What training did to a layer.

    Attributes
    ----------
    layer : int
    before, after : float
        Mean over the calibration tokens of ``||h - h'||^2 / ||h'||^2``, h the residual stream
        behind the layer, h' the dense model's. What was lost in front of the layer is in it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    layer: int
    before: float
    after: float


class Report(BaseModel):
    """A pruning run; ``report.json`` of the C4n folder holds it.

    Attributes
    ----------
    source : str
        Name of the source folder, or ``org/name`` of a hub.
    revision : str
        Commit of the hub's model; empty for other folders.
    recipe : dict
    calibration : str
        Name of the calibration file.
    projections : tuple of ProjectionReport
    repairs : tuple of LayerRepair
        None where no layer was trained.
    source_bytes : int
        All tensors of the source, as stored.
    disk_bytes : int
        model.safetensors and c4n.json of the C4n folder.
    packed_bytes : int
        All tensors as stored: what a budget of bytes bounds, and what `inspect` shows.
    run_secs : float
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    revision: str = ""
    recipe: dict[str, Any]
    calibration: str
    projections: tuple[ProjectionReport, ...]
    repairs: tuple[LayerRepair, ...] = ()
    source_bytes: int
    disk_bytes: int
    packed_bytes: int
    run_secs: float

    def mean_error(self, projection: str, kind: str = "output_error") -> float:
        """Average over layers of ``output_error`` or ``masked_error`` of one projection."""
        return fmean(getattr(p, kind) for p in self.projections if p.projection == projection)

    def dtypes(self, projection: str | None = None) -> str:
        """Say how weights are stored, all or those of one projection: ``int3 x11, int4 x5``.

        One dtype stands alone.
        """
        kinds = [row.dtype for row in self.projections if projection in (None, row.projection)]
        counts = sorted(Counter(kinds).items(), key=lambda found: DTYPES.index(found[0]))
        return counts[0][0] if len(counts) == 1 else ", ".join(f"{d} x{n}" for d, n in counts)

    @property
    def heading(self) -> str:
        """Model, method, dtype and time in a line; of a mixture how many weights have a dtype."""
        stored, exceptions = self.recipe["dtype"], self.recipe.get("dtypes") or {}
        if exceptions:
            stored = self.dtypes()
            stored += f", embeddings {exceptions['head']}" if "head" in exceptions else ""
        return f"{self.source}: {self.recipe['method']}, {stored}, {self.run_secs:.1f} s"

    def __str__(self) -> str:
        lines = [
            self.heading,
            f"{'projection':<10} {'n':>3} {'dtype':>8} {'masked only':>12} {'final':>8} {'KB':>9}",
        ]
        for projection in dict.fromkeys(p.projection for p in self.projections):
            rows = [p for p in self.projections if p.projection == projection]
            masked = self.mean_error(projection, "masked_error")
            final = self.mean_error(projection)
            span = _span(n for p in rows for n in removed_of_each(p.removed, 1))
            size_kb = sum(p.size_bytes for p in rows) / 1000
            lines.append(
                f"{projection:<10} {span:>3} {self.dtypes(projection):>8} "
                f"{masked:>12.4f} {final:>8.4f} {size_kb:>9.1f}"
            )
        lines.append(
            f"weights: {self.source_bytes / 1e6:.2f} MB in the source, "
            f"{self.packed_bytes / 1e6:.2f} MB pruned"
        )
        return "\n".join(lines)


def _span(values: Iterable[int]) -> str:
    """``2`` or ``1-3``."""
    found = sorted(set(values))
    return str(found[0]) if len(found) == 1 else f"{found[0]}-{found[-1]}"
