"""Fixtures of tuning."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tvm_c4n._tvm import IRModule, relax
from tvm_c4n.sparsity import mask_from_scores


@pytest.fixture(scope="session")
def sparse_layer() -> IRModule:
    """A dense layer of 256 x 64 whose weight has two zeros in each group."""
    weight = np.random.default_rng(0).normal(size=(256, 64)).astype(np.float32)
    weight *= mask_from_scores(np.abs(weight), 2)
    bb = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((1, 64), "float32"))
    with bb.function("main", [x]):
        with bb.dataflow():
            right = bb.emit(relax.op.permute_dims(relax.const(weight)))
            out = bb.emit_output(relax.op.matmul(x, right))
        bb.emit_func_output(out)
    return bb.get()


@pytest.fixture(scope="session")
def tuned(
    sparse_layer: IRModule, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[int]]:
    """Records of a layer's whole space, and what two runs told; the first one was cut off."""
    from tvm_c4n.tuning.database import RECORDS
    from tvm_c4n.tuning.run import tune
    from tvm_c4n.tuning.runners import kill_workers, local_runner

    folder = tmp_path_factory.mktemp("tune") / "records"
    runner = local_runner(1, timeout_secs=120, samples=2, min_repeat_ms=1)
    told: list[int] = []

    def run(trials: int) -> None:
        progress: Callable[[str, int, int], None] = lambda _, done, __: told.append(done)  # noqa: E731
        tune(
            sparse_layer,
            runner=runner,
            records=folder,
            trials=trials,
            batch=4,
            cold_bytes=0,
            progress=progress,
        )

    run(4)
    file = folder / RECORDS
    file.write_bytes(file.read_bytes()[:-30])  # a kill in the middle of a write
    run(1000)
    kill_workers(runner)
    return folder, told
