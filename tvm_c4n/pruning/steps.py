"""Progress of work that is made of steps, of which the total is known from the start."""

from __future__ import annotations

from tvm_c4n.progress import Progress


class StepCounter:
    """Counts finished steps and tells a `Progress` callback.

    Parameters
    ----------
    total : int
        Steps of the whole run.
    progress : callable, optional

    Attributes
    ----------
    done : int
    """

    def __init__(self, total: int, progress: Progress | None = None) -> None:
        self.done = 0
        self._total, self._progress = total, progress

    def __call__(self, what: str, steps: int = 1) -> None:
        """Report ``steps`` more steps as done."""
        self.done += steps
        if self._progress is not None:
            self._progress(what, self.done, self._total)

    def skip(self, steps: int) -> None:
        """Count steps that turned out not to be needed; the next report shows them as done."""
        self.done += steps
