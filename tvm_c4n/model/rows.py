"""Names of runs of rows of a tensor: ``in_proj.weight.rows_0_1536``.

Rows of one matrix that are stored in different ways are tensors of their own in a C4n folder; in
a Hugging Face folder they lie in the tensor that their name begins with.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_ROWS = re.compile(r"(.+)\.rows_(\d{1,9})_(\d{1,9})")


class Rows(NamedTuple):
    """Rows ``start`` to ``stop`` of the tensor ``source``."""

    source: str
    start: int
    stop: int

    @property
    def name(self) -> str:
        """The name of these rows as a tensor."""
        return f"{self.source}.rows_{self.start}_{self.stop}"


def rows_of(name: str) -> Rows | None:
    """Read a name back; None where it is that of a whole tensor."""
    match = _ROWS.fullmatch(name)
    return match and Rows(match[1], int(match[2]), int(match[3]))
