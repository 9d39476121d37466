"""The base of what operators are: the attributes that a PrimFunc carries."""

from __future__ import annotations

from dataclasses import KW_ONLY, asdict, dataclass, fields
from typing import Any, ClassVar

from tvm_c4n.ops.attrs import KIND, PREFIX


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
