"""How well `tvm-c4n plan` predicts: each model's predicted tokens/s beside measured ones.

A model is a name, a folder or an artifact. What was measured is the median of `tvm-c4n bench`'s
generation, tg64, right after the prediction, which is made for the n and dtype of each weight.
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tvm_c4n.compile.cache import load  # noqa: E402
from tvm_c4n.plan.prediction import Predictor  # noqa: E402
from tvm_c4n.pruning.allocation.budget import recipe_of  # noqa: E402
from tvm_c4n.pruning.recipe import Choice, Recipe  # noqa: E402
from tvm_c4n.runtime.bench import measure  # noqa: E402
from tvm_c4n.runtime.thread_pool import default_threads  # noqa: E402

TOKENS, ROUNDS = 64, 7


def main(models: list[str]) -> None:
    threads = default_threads()
    print("| model | predicted | measured | error |\n|---|---:|---:|---:|")
    for model in models:
        engine = load(model)
        stored = engine.manifest.projections
        choices = {name: Choice(each.removed, each.dtype) for name, each in stored.items()}
        predictor = Predictor(engine.config, threads)
        predicted = 1 / predictor.secs(recipe_of(engine.config, Recipe(), choices))
        cells = measure([engine], threads=[threads], n_prompt=0, n_gen=TOKENS, reps=ROUNDS)
        found = median(cells[0].samples_ts)
        error = 100 * (predicted / found - 1)
        name = Path(model).name.removesuffix(".art")
        print(f"| {name} | {predicted:.0f} | {found:.0f} | {error:+.0f} % |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
