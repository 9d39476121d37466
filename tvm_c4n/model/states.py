"""What a model carries from token to token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias


@dataclass(frozen=True)
class State:
    """What a block carries from token to token; zeros at the start of a text.

    Attributes
    ----------
    name : str
        States of one name, shape and dtype are stacked over the blocks of a model, in order.
    shape : tuple of int
    dtype : str
    shared : bool
        Whether all blocks have one in common, which the model advances; it is not stacked.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    shared: bool = False


StateDType: TypeAlias = Literal["float32", "float16"]
# What a state holds: float16 as its bits, for OpenCL need not have halves.
STATE_BITS: Mapping[StateDType, str] = {"float32": "float32", "float16": "uint16"}


class StateDTypes(NamedTuple):
    """In which dtypes a model keeps what it carries from token to token; arithmetic is float32.

    Attributes
    ----------
    scan : str
        Of Mamba-2's scan states. Those of Mamba-1 are float32.
    kv : str
        Of the keys and values of attention.
    """

    scan: StateDType = "float32"
    kv: StateDType = "float32"
