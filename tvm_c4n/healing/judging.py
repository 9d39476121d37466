"""Texts that say whether a healed model holds, of kinds that it is for and of others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tvm_c4n.errors import RecipeError
from tvm_c4n.healing.distil import Distance, distance
from tvm_c4n.healing.student import Student
from tvm_c4n.healing.tokens import cut_windows, read_tokens
from tvm_c4n.model.tokenizer import TextTokenizer
from tvm_c4n.progress import Progress

# The name of the training text's own windows that were kept apart.
HELD_OUT = "held-out text"


@dataclass(frozen=True)
class Judgement:
    """Distances from the teacher on a whole text, before and after healing."""

    before: Distance
    after: Distance


class Judge:
    """Texts by name, as windows, and the teacher that a student is compared with on them.

    Parameters
    ----------
    texts : dict of str to path
        See `read_tokens`.
    held_out : (windows, window) uint16
        Those of the training text.
    tokenizer : TextTokenizer
    teacher : Student
    device : torch.device

    Raises
    ------
    RecipeError
        A name that is taken, a text that cannot be read or is shorter than a window.
    """

    def __init__(
        self,
        texts: Mapping[str, str | Path],
        held_out: NDArray[np.uint16],
        tokenizer: TextTokenizer,
        teacher: Student,
        device: torch.device,
    ) -> None:
        if HELD_OUT in texts:
            raise RecipeError(f"a text to judge by is named {HELD_OUT!r}; give it another name")
        self._teacher, self._device = teacher, device
        self._windows = {HELD_OUT: held_out}
        for name, path in texts.items():
            windows = cut_windows(read_tokens([path], tokenizer), tokenizer, held_out.shape[1])
            if not len(windows):
                raise RecipeError(
                    f"{path}: shorter than a window of {held_out.shape[1]} tokens; "
                    "judge by a longer text"
                )
            self._windows[name] = windows

    def measure(self, student: Student, progress: Progress | None) -> dict[str, Distance]:
        """Measure a student on each text; the training text's own windows come first."""
        found = {}
        for name, windows in self._windows.items():

            def tell(done: int, total: int, name: str = name) -> None:
                if progress:
                    progress(f"measuring on {name}", done, total)

            found[name] = distance(student, self._teacher, windows, self._device, tell)
        return found
