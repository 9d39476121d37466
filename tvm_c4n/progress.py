"""How long work tells its caller how far it is."""

from __future__ import annotations

from collections.abc import Callable

# progress(what, done, total): "what" names the present stage, done and total count its parts.
Progress = Callable[[str, int, int], None]
# How the stage of a part ends that an earlier run has done: its time says nothing about this run.
FINISHED_BEFORE = "was finished before"
