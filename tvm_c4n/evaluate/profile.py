"""Where the time of a decode step goes: each kernel by itself, next to the step as it runs.

1. An artifact's step is a few regions that hold many kernels; clocks between them would need
   another step than the one that runs. So the model is compiled once more without `FuseRegions`,
   with the kernels of the same selector: every kernel is a function then.
2. One step is recorded, each function with its arguments, and replayed call by call in the step's
   order: a kernel meets the weights, the small arrays and the caches as in the step.
3. A call costs something by itself (a fork and a join of the thread pool, mostly), which is
   measured with an empty kernel and subtracted. The fused step has a barrier instead; it is in what
   is left between the sum of the kernels and the step.
4. Only repetitions count in which every thread had a core (`undisturbed`). A replay whose kernels
   take far longer than the step is refused: it cannot be a picture of that step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from tvm_c4n.compile.artifact import compile_model
from tvm_c4n.errors import C4nError
from tvm_c4n.evaluate.replay import TOKEN, Replay, Stage, empty_kernel, micros_of
from tvm_c4n.evaluate.undisturbed import repeat
from tvm_c4n.progress import Progress
from tvm_c4n.runtime import huge_pages
from tvm_c4n.runtime.engine import Engine

# The kernels' sum over the step, at most. It was 0.79 to 1.05 on four CPUs; a profile of 1.58 was
# withdrawn, presumably taken with two threads on one core.
MAX_RATIO = 1.2
# Step and replay are measured this often at most, until they fit.
ATTEMPTS = 3


@dataclass(frozen=True)
class Profile:
    """Where a step's time goes; all times in microseconds, medians over repetitions.

    Attributes
    ----------
    threads : int
    stages : list of Stage
        In the step's order.
    call : float
        What the call of an empty kernel costs.
    step : float
        The step as the artifact runs it.
    """

    threads: int
    stages: list[Stage]
    call: float
    step: float

    @property
    def kernels(self) -> float:
        """Sum of the kernels."""
        return sum(stage.micros for stage in self.stages)

    @property
    def ratio(self) -> float:
        """Sum of the kernels over the step."""
        return self.kernels / self.step


def profile_step(
    model: str | Path, threads: int, *, reps: int = 20, progress: Progress | None = None
) -> Profile:
    """Profile a model's decode step on this machine.

    Parameters
    ----------
    model : str or Path
        Name of an embedded model, Hugging Face folder or C4n folder.
    threads : int
    reps : int
        Repetitions of the step and of the replay.
    progress : callable, optional
        Called as ``progress(what, done, total)``.

    Raises
    ------
    C4nError
        As `compile_model` and `Engine.load`; other programs took cores all the time, or the
        kernels by themselves took over `MAX_RATIO` of the step.
    """

    def tell(what: str, done: int) -> None:
        if progress is not None:
            progress(what, done, 4)

    with TemporaryDirectory(prefix="tvm-c4n-") as folder:
        tell("compiling the step", 0)
        compile_model(model, Path(folder) / "artifact")
        engine = Engine.load(Path(folder) / "artifact", threads=threads)
        tell("compiling its kernels", 1)
        calls = Replay(model, Path(folder))
        huge_pages.wait()
        engine.set_threads(threads, adapt=False)
        empty = empty_kernel(Path(folder))

        def measured() -> Profile:
            tell("measuring the step", 2)
            step = median(repeat(lambda: micros_of(lambda: engine.step(TOKEN)), reps, threads))
            tell("measuring the kernels", 3)
            return Profile(threads, *calls.measure(reps, threads, empty), step)

        profile = plausible(measured)
        tell("measuring the kernels", 4)
    return profile


def plausible(measure: Callable[[], Profile]) -> Profile:
    """Return a profile whose kernels can be those of its step; measure `ATTEMPTS` times at most.

    Raises
    ------
    C4nError
        The kernels took over `MAX_RATIO` of the step each time.
    """
    for _ in range(ATTEMPTS):
        profile = measure()
        if profile.ratio <= MAX_RATIO:
            return profile
    raise C4nError(
        f"with --threads {profile.threads} the kernels by themselves take "
        f"{profile.kernels:.0f} us, {profile.ratio:.2f} of the step's {profile.step:.0f} us: "
        "something disturbed one of the two; measure again on an idle machine"
    )
