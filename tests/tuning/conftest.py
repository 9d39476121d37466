"""Fixtures of tuning."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import layers
from tvm_c4n._tvm import IRModule


@pytest.fixture(scope="session")
def sparse_layer() -> IRModule:
    """The layer that is tuned."""
    return layers.sparse_layer(256, 64)[0]


@pytest.fixture(scope="session")
def tuned(
    sparse_layer: IRModule, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[int]]:
    """Records of a layer's whole space, and what two runs told; the first one was cut off.

    It takes half a minute: what needs it stands in one file, which one worker runs.
    """
    from tvm_c4n.tuning.database import RECORDS
    from tvm_c4n.tuning.run import tune
    from tvm_c4n.tuning.runners import kill_workers, local_runner

    folder = tmp_path_factory.mktemp("tune") / "records"
    runner = local_runner(1, timeout_secs=120, samples=2, min_repeat_ms=1)
    told: list[int] = []

    def run(trials: int) -> None:
        def progress(what: str, done: int, _total: int) -> None:
            if "against" not in what:  # candidates, not pairs
                told.append(done)

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
